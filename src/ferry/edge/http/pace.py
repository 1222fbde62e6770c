"""Slow visitors: how fast bytes must move, measured over one window after another.

Whoever sends a body one byte in ten seconds, or reads an answer that slowly, holds a stream of somebody's tunnel for
as long as it likes. A window that opened on a fast start cannot be lived on for hours, as an average could.
"""

from __future__ import annotations


class Pace:
    """One direction of one visitor. It exists only while bytes are due from it, and is looked at by the edge's tick."""

    __slots__ = ("moved", "since")

    def __init__(self, now: float, moved: int) -> None:
        self.since = now
        """When this window opened, in monotonic seconds."""
        self.moved = moved
        """What had moved by then."""

    def behind(self, now: float, moved: int, *, rate: int, window: float) -> bool:
        """Whether less than `rate` bytes a second have moved in a window of `window` seconds that is over now.

        `moved` counts bytes from any beginning. False while the window is open; then the next one opens.
        """
        seconds = now - self.since
        if seconds < window:
            return False
        if moved - self.moved < rate * seconds:
            return True
        self.since = now
        self.moved = moved
        return False


class Paces:
    """Both directions of one exchange."""

    __slots__ = ("_body", "read")

    def __init__(self) -> None:
        self._body: Pace | None = None
        self.read: Pace | None = None
        """Of its answer, while the visitor takes less than there is."""

    def body_behind(self, now: float, moved: int, *, due: bool, rate: int, window: float) -> bool:
        """As `Pace.behind`, of the request's body while it is due."""
        if not due:
            self._body = None
        elif self._body is None:
            self._body = Pace(now, moved)
        else:
            return self._body.behind(now, moved, rate=rate, window=window)
        return False

    def read_behind(self, now: float, moved: int, *, rate: int, window: float) -> bool:
        """As `Pace.behind`, of what the visitor has taken."""
        if self.read is None:
            self.read = Pace(now, moved)
            return False
        return self.read.behind(now, moved, rate=rate, window=window)
