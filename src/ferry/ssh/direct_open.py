"""The channels that one client has opened by `-L`, `-D`, `-J` and `-W`, until both sides have closed them."""

from __future__ import annotations

import asyncio

from .wire.channel import TunnelChannel
from .wire.channel_state import OwnedChannel


class DirectOpen(dict[OwnedChannel, tuple[bytes, int]]):
    """The target of each channel, as the client named it. It is the `ChannelOwner` of these channels.

    A channel stays until the client has closed it too: stock ssh drops the last bytes of a channel if its connection
    ends first.
    """

    def __init__(self) -> None:
        super().__init__()
        self._empty: asyncio.Event | None = None
        """Set when the last channel has gone, if a caller waits for that."""

    def began(self, channel: TunnelChannel, host: bytes, port: int) -> None:
        """An open is granted: `channel` leads to this target."""
        self[channel] = (host, port)

    async def wait_empty(self) -> None:
        """Return when no channel is left."""
        if self:
            if self._empty is None:
                self._empty = asyncio.Event()
            await self._empty.wait()

    # --- ferry.ssh.wire.channel_state.ChannelOwner

    def channel_answered(self, channel: OwnedChannel, opened: bool) -> None:
        """Only for channels that we open."""

    def channel_unfit(self, channel: OwnedChannel, packet_size: int) -> None:
        """Only for channels that we open."""

    def channel_gone(self, channel: OwnedChannel) -> None:
        self.pop(channel, None)
        if not self and self._empty is not None:
            self._empty.set()
            self._empty = None
