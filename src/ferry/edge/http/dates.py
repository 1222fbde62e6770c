"""The `Date` field of our own answers, made once a second (RFC 9110 §6.6.1: an origin server with a clock MUST send
it)."""

from __future__ import annotations

from email.utils import formatdate

from ferry.clock import Clock


class Dates:
    """The time of `clock` as a field."""

    __slots__ = ("_clock", "_field", "_second")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = -1
        self._field = ""

    def field(self) -> str:
        """`Date: Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7), without the end of the line."""
        second = int(self._clock.now())
        if second != self._second:
            self._second = second
            self._field = f"Date: {formatdate(second, usegmt=True)}"
        return self._field
