"""The output of one session, with a bound: a client that does not read loses lines, and learns how many."""

from __future__ import annotations

from typing import Protocol

from asyncssh.constants import EXTENDED_DATA_STDERR

from ferry import limits


class OutputChannel(Protocol):
    """The session's channel."""

    @property
    def room(self) -> int:
        """Bytes that would leave at once."""
        ...

    def is_closing(self) -> bool: ...

    def get_write_buffer_size(self) -> int: ...

    def write(self, data: bytes, datatype: int | None = None, /) -> None: ...


class _NotOpen:
    """In place of a channel, before there is one."""

    room = 0

    def is_closing(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes, datatype: int | None = None, /) -> None:
        """Nobody gets it."""


class Output:
    """The text that a session writes."""

    __slots__ = ("_channel", "_dropped")

    def __init__(self) -> None:
        self._channel: OutputChannel = _NotOpen()
        self._dropped = 0

    def open(self, channel: OutputChannel) -> None:
        """Write to `channel` from now on. There is nothing to write before."""
        self._channel = channel

    @property
    def room(self) -> int:
        """Bytes that would leave at once: nothing waits for the client to read."""
        return self._channel.room

    def takes_line(self) -> bool:
        """Whether one more line may be written. If not, it counts as dropped."""
        if self._channel.get_write_buffer_size() > limits.SESSION_BACKLOG_BYTES:
            self._dropped += 1
            return False
        return True

    def dropped(self) -> int:
        """The number of lines that were dropped since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def write(self, text: str, *, error: bool = False) -> None:
        """Write text to stdout, or to stderr."""
        if not self._channel.is_closing():
            self._channel.write(text.encode("utf-8", "replace"), EXTENDED_DATA_STDERR if error else None)
