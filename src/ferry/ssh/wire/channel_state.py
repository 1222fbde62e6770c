"""The states of a data channel, whom it tells of its life, what it sends through, and what waits for its turn to send."""

from __future__ import annotations

import enum
from collections.abc import Hashable
from typing import Any, Protocol

from ferry.streams import OpenFailure

from .pieces import Pieces


class State(enum.Enum):
    """Where a channel is. What a peer's message means in each is a table in tests/ssh/wire/test_channel_states.py."""

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


class OwnedChannel(Hashable, Protocol):
    """What a tunnel, or whoever ends what is stuck, keeps of a channel."""

    state: State

    def request_open(self, channel_type: bytes, /, *args: bytes) -> None:
        """Ask the peer for it. Raises ChannelOpenError when the connection is gone."""
        ...

    def refuse(self, failure: OpenFailure, /) -> None:
        """It will not be asked for, or not be waited for any more."""
        ...

    def cut(self, error: Exception, /) -> None:
        """End it at once; its sink is told why."""
        ...

    def abort(self) -> None:
        """End it at once; its sink is told nothing."""
        ...


class ChannelOwner(Protocol):
    """The tunnel that a channel belongs to: told about every channel's end, beside its sink."""

    def channel_answered(self, channel: OwnedChannel, opened: bool) -> None:
        """The peer confirmed the open, or refused it."""
        ...

    def channel_unfit(self, channel: OwnedChannel, packet_size: int) -> None:
        """The peer confirmed the open, and takes packets of `packet_size` bytes only: the channel is closed again."""
        ...

    def channel_gone(self, channel: OwnedChannel) -> None:
        """The channel is closed on both sides, or its connection is, or it was never asked for."""
        ...


class ChannelTransport(Protocol):
    """What a channel sends through: `packets` and `connection` together are one."""

    @property
    def may_send(self) -> bool:
        """Whether data may go now."""
        ...

    @property
    def channel_window(self) -> int:
        """Bytes that a channel's peer may send ahead."""
        ...

    def add_channel(self, channel: Any, /) -> int:
        """Give a channel its number here."""
        ...

    def remove_channel(self, number: int, /) -> None:
        """The number is free again."""
        ...

    def send_packet(self, message: int, /, *parts: bytes) -> None: ...

    def send_data(self, channel: int, data: bytes | bytearray | memoryview, /) -> None:
        """Send one SSH_MSG_CHANNEL_DATA (RFC 4254 §5.2) to the peer's `channel`."""
        ...

    def send_channel_open_confirmation(self, theirs: int, ours: int, window: int, packet: int, /) -> None: ...

    def send_channel_open_failure(self, theirs: int, code: int, reason: str, lang: str, /) -> None: ...

    def await_turn(self, channel: Waiting, /) -> None:
        """Remember a channel that has something to send, which cannot go now."""
        ...

    def await_end(self, channel: OwnedChannel, unsent: Pieces, /) -> None:
        """Remember a channel that is to close once the peer has taken `unsent`."""
        ...

    def sink_failed(self, error: Exception, /) -> None:
        """An error of our own has ended one stream."""
        ...
