"""The channels that one client has opened by `-L`, `-D`, `-J` and `-W`, until both sides have closed them."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from ferry import limits
from ferry.limiters.rate import PerSecond
from ferry.policy.grants import SocketGrant
from ferry.policy.reach import Host
from ferry.policy.visits import Target
from ferry.protocol.targets import IpAddress

from .wire.channel import TunnelChannel
from .wire.channel_state import OwnedChannel, State


class HostAt(NamedTuple):
    """A host of the network."""

    host: Host
    found: IpAddress | None = None
    """The address that the channel is connected to; None before it is."""
    here: bool = False
    """The address is one of this host's own."""


class Reached(NamedTuple):
    """Where a channel leads."""

    host: bytes
    """As the client has sent it, and so is the port."""
    port: int
    target: Target | HostAt | SocketGrant


class DirectOpen(dict[OwnedChannel, Reached]):
    """Where each channel leads. It is the `ChannelOwner` of these channels.

    A channel stays until the client has closed it too: stock ssh drops the last bytes of a channel if its connection
    ends first.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rate = PerSecond()
        self._host_rate = PerSecond()
        self._empty: asyncio.Event | None = None
        """Set when the last channel has gone, if a caller waits for that."""

    def may_open(self, now: float) -> bool:
        """Count an open, granted or not, at `now` (monotonic). False past DIRECT_OPENS_PER_SECOND."""
        return self._rate.allows(now, limits.DIRECT_OPENS_PER_SECOND)

    def may_open_host(self, now: float) -> bool:
        """Count an open to a host. False past OUTBOUND_OPENS_PER_SECOND."""
        return self._host_rate.allows(now, limits.OUTBOUND_OPENS_PER_SECOND)

    @property
    def in_use(self) -> bool:
        """Whether a channel is there that we have not closed."""
        return any(channel.state is not State.CLOSING for channel in self)

    def began(self, channel: TunnelChannel, reached: Reached) -> None:
        """An open is granted, or is being decided: `channel` leads there."""
        self[channel] = reached

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
