"""The states of a data channel, and the interfaces between it, its owner, its connection and the round of senders."""

from __future__ import annotations

import enum
from collections.abc import Hashable
from typing import Any, Protocol

from ferry.streams import OpenFailure

from .pieces import Pieces


class State(enum.Enum):
    """The state of a channel. tests/ssh/wire/test_channel_states.py has a table of each message in each state."""

    NEW = "new"
    """Not requested yet: it has no number, and the peer knows nothing of it."""
    OPENING = "opening"
    """We have asked the peer to open it."""
    ABANDONED = "abandoned"
    """We aborted it while it opened. It closes as soon as the peer confirms."""
    ASKED = "asked"
    """The peer has asked us to open it, and has no answer yet."""
    OPEN = "open"
    CLOSING = "closing"
    """We have sent our close; the peer's close has not come."""
    CLOSED = "closed"


class Waiting(Protocol):
    """A channel in the round of its connection, with bytes that could not be sent at once."""

    waiting: bool
    """It is in the round (set by the connection)."""

    def send_one(self) -> bool:
        """Send one packet, if there is one and the connection takes it. True if more can follow."""
        ...


class OwnedChannel(Hashable, Protocol):
    """A channel, for its tunnel and for the code that ends stuck channels."""

    state: State

    def request_open(self, channel_type: bytes, /, *args: bytes) -> None:
        """Ask the peer to open it. Raises ChannelOpenError if the connection is gone."""
        ...

    def refuse(self, failure: OpenFailure, /) -> None:
        """End it before it has opened, and tell its sink the reason."""
        ...

    def cut(self, error: Exception, /) -> None:
        """End it at once, and tell its sink the reason."""
        ...

    def abort(self) -> None:
        """End it at once, without a call to its sink."""
        ...


class ChannelOwner(Protocol):
    """The tunnel that owns a channel. It hears of the answer and the end of each channel, in addition to the sink."""

    def channel_answered(self, channel: OwnedChannel, opened: bool) -> None:
        """The peer has confirmed the open, or refused it."""
        ...

    def channel_unfit(self, channel: OwnedChannel, packet_size: int) -> None:
        """The peer has confirmed the open, but takes packets of `packet_size` bytes only: the channel closes again."""
        ...

    def channel_gone(self, channel: OwnedChannel) -> None:
        """The channel has closed on both sides, or its connection has closed, or it was dropped before its open."""
        ...


class ChannelTransport(Protocol):
    """The connection, for its channels. `packets` and `connection` together implement it."""

    @property
    def may_send(self) -> bool:
        """Whether a channel may send data now."""
        ...

    @property
    def channel_window(self) -> int:
        """The number of bytes that a channel's peer may send ahead."""
        ...

    def add_channel(self, channel: Any, /) -> int:
        """Add a channel. Returns its number on our side."""
        ...

    def remove_channel(self, number: int, /) -> None:
        """Remove a channel. Its number is free again."""
        ...

    def send_packet(self, message: int, /, *parts: bytes) -> None: ...

    def send_data(self, channel: int, data: bytes | bytearray | memoryview, /) -> None:
        """Send one SSH_MSG_CHANNEL_DATA (RFC 4254 §5.2) to the peer's `channel`."""
        ...

    def send_channel_open_confirmation(self, theirs: int, ours: int, window: int, packet: int, /) -> None: ...

    def send_channel_open_failure(self, theirs: int, code: int, reason: str, lang: str, /) -> None: ...

    def await_turn(self, channel: Waiting, /) -> None:
        """Queue a channel with bytes that cannot be sent now."""
        ...

    def await_end(self, channel: OwnedChannel, unsent: Pieces, /) -> None:
        """Remember a channel that closes once the peer has taken `unsent`."""
        ...

    def sink_failed(self, error: Exception, /) -> None:
        """An error of our own code has ended one stream."""
        ...
