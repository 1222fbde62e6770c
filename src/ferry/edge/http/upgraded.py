"""After 101 (Switching Protocols): bytes both ways as they are, each direction with an end of its own."""

from __future__ import annotations

from .connection import READ_AHEAD, Phase
from .exchange import Exchange


class Upgraded(Exchange):
    """A visitor's connection while its phase is RAW. No deadline runs, and no pace is asked for."""

    __slots__ = ()

    def switched(self, head: bytes, rest: bytes) -> None:
        """101 has come, with `rest` behind it: from here on bytes are relayed as they are."""
        upstream = self._upstream
        assert upstream is not None
        self._status = 101
        self.phase = Phase.RAW
        self.deadline = 0.0
        self.relay(head + rest, len(rest))
        data, self.buffer = self.buffer, b""
        if data:
            self._send(data, len(data))
        self.resume(READ_AHEAD)
        if self.ended:
            upstream.write_eof()

    def _raw_ended(self) -> bool:
        """End-of-file from the visitor; whether the connection stays open for writing."""
        upstream = self._upstream
        assert upstream is not None
        if upstream.ended:
            self._leave_raw()
            self.shut()  # with a deadline for what it has not read yet
            return False
        upstream.write_eof()
        return not self.secure

    def upstream_ended(self) -> None:
        """End-of-file from the service after an upgrade; the visitor may still send."""
        if self.ended or not self.transport.can_write_eof():
            self._leave_raw()
            self.shut()
        else:
            self.transport.write_eof()

    def _leave_raw(self) -> None:
        upstream = self._upstream
        assert upstream is not None
        self._record("")
        upstream.discard()

    def upstream_closed(self, error: Exception | None) -> None:
        """The stream is gone after an upgrade."""
        self._record("" if error is None else f"the tunnel broke: {error}")
        if error is None:
            self.shut()
        else:
            self.abort()
