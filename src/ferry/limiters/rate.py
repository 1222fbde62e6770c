"""Limits rates: so many in each second of the clock, or a minimum distance between two."""

from __future__ import annotations


class PerSecond:
    """Counts the requests of one peer in the current second. Times are monotonic seconds."""

    __slots__ = ("_count", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._count = 0

    def allows(self, now: float, most: int) -> bool:
        """Count one more. Whether there were no more than `most` in this second."""
        second = int(now)
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        return self._count <= most


class Spacing:
    """Delays a peer that does something too often. Times are monotonic seconds.

    `together` may follow each other at once; after that `per_second` go ahead (GCRA, a leaky bucket).
    """

    __slots__ = ("_due", "_every", "_slack")

    def __init__(self, together: int, per_second: float) -> None:
        self._every = 1 / per_second
        self._slack = together * self._every
        self._due = float("-inf")  # when all so far would have been done, evenly spaced

    def wait(self, now: float) -> float:
        """Count one more. Returns for how many seconds it must wait."""
        self._due = max(self._due, now) + self._every
        return max(self._due - now - self._slack, 0.0)
