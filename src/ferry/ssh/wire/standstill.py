"""Detects a connection that does not move any more.

A peer may start a key exchange and never end it, or stop reading for ever. The bytes that wait for it are bounded, but
must not stay for ever.
"""

from __future__ import annotations

from ferry import limits


class Standstill:
    """The check for one connection. All times are the loop's."""

    def __init__(self) -> None:
        self._exchange_began: float | None = None
        self._taken, self._moved = 0, 0.0
        """The number of bytes that the socket had taken at its last change, and the time of that change."""

    def exchanged(self) -> None:
        """A key exchange has ended. The next one has its own time, even without a `look` between the two."""
        self._exchange_began = None

    def look(self, now: float, *, exchanging: bool, taken: int, waiting: int) -> str | None:
        """The reason to end the connection, if a key exchange or a write has not moved for STUCK_SECONDS.

        Called once a second. The bytes that the socket has `taken` decide, not those `waiting`: the latter grow by
        answers to a peer that only sends, and return to the same number again and again with a peer that reads slowly.
        """
        if not exchanging:
            self._exchange_began = None
        elif self._exchange_began is None:
            self._exchange_began = now
        elif now - self._exchange_began > limits.STUCK_SECONDS:
            return "a key exchange did not end in time"
        if waiting == 0 or taken != self._taken:
            self._taken, self._moved = taken, now
        elif now - self._moved > limits.STUCK_SECONDS:
            return "the client has not read for too long"
        return None
