"""How often something may happen: so many times in each second of the clock."""

from __future__ import annotations


class PerSecond:
    """Counts what one peer asks for. Times are monotonic seconds; what came in an earlier second is forgotten."""

    __slots__ = ("_count", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._count = 0

    def allows(self, now: float, most: int) -> bool:
        """Count one more, and say whether there were no more than `most` in this second."""
        second = int(now)
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        return self._count <= most
