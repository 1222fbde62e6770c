"""Notices that a connection does not move any more.

A peer may start a key exchange and never end it, or stop reading while it still answers nothing: what waits for it is
bounded, and is not kept for ever.
"""

from __future__ import annotations

from ferry import limits


class Standstill:
    """Of one connection. All times are the loop's."""

    def __init__(self) -> None:
        self._exchange_began: float | None = None
        self._taken, self._moved = 0, 0.0
        """Bytes that the socket had taken when that last changed, and when that was."""

    def exchanged(self) -> None:
        """Keys were exchanged: the next exchange has a time of its own, even if nobody looks between the two."""
        self._exchange_began = None

    def look(self, now: float, *, exchanging: bool, taken: int, waiting: int) -> str | None:
        """Why the connection is to be ended: a key exchange or a write has not moved for STUCK_SECONDS.

        Called once a second. What the socket has `taken` tells, not what is `waiting`: that grows by answers to a peer
        who only sends, and is filled to the same level again and again by one who reads slowly.
        """
        if not exchanging:
            self._exchange_began = None
        elif self._exchange_began is None:
            self._exchange_began = now
        elif now - self._exchange_began > limits.STUCK_SECONDS:
            return "a key exchange was begun and never ended"
        if waiting == 0 or taken != self._taken:
            self._taken, self._moved = taken, now
        elif now - self._moved > limits.STUCK_SECONDS:
            return "it has not read for too long"
        return None
