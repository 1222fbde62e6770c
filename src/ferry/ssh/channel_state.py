"""The states of a data channel, whom it tells of its life, and what waits for its turn to send."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .channel import TunnelChannel


class State(enum.Enum):
    """Where a channel is. What a peer's message means in each is a table in tests/ssh/test_channel_states.py."""

    HELD = "held"
    """Nobody has asked for it yet: it has no number, and the peer knows nothing of it."""
    OPENING = "opening"
    """We have asked the peer to open it."""
    ABANDONED = "abandoned"
    """We lost interest while it opened; to be closed as soon as the peer confirms."""
    ASKED = "asked"
    """The peer has asked us to open it, and has no answer yet."""
    OPEN = "open"
    CLOSING = "closing"
    """We have sent our close; the peer's has not come."""
    CLOSED = "closed"


class Waiting(Protocol):
    """A channel in the round of its connection: it has something to send, which could not go at once."""

    waiting: bool
    """It is in the round (kept by the connection)."""

    def send_one(self) -> bool:
        """Send one packet, if there is one and the connection takes it. True if more can follow."""
        ...


class ChannelOwner(Protocol):
    """The tunnel that a channel belongs to: told about every channel's end, beside its sink."""

    def channel_answered(self, channel: TunnelChannel, opened: bool) -> None:
        """The peer confirmed the open, or refused it."""
        ...

    def channel_unfit(self, channel: TunnelChannel, packet_size: int) -> None:
        """The peer confirmed the open, and takes packets of `packet_size` bytes only: the channel is closed again."""
        ...

    def channel_gone(self, channel: TunnelChannel) -> None:
        """The channel is closed on both sides, or its connection is, or it was never asked for."""
        ...
