"""Detects slow visitors: it measures the rate of their bytes over one window after another.

A visitor that sends one byte of a body in ten seconds, or reads an answer that slowly, could hold a stream of a tunnel
without end. Windows are better than an average: after a fast start, a good average would allow hours of slowness.
"""

from __future__ import annotations


class Pace:
    """One direction of one visitor. It exists only while the visitor has to send or read; the edge's tick checks it."""

    __slots__ = ("moved", "since")

    def __init__(self, now: float, moved: int) -> None:
        self.since = now
        """The start of this window, in monotonic seconds."""
        self.moved = moved
        """The value of `moved` at its start."""

    def behind(self, now: float, moved: int, *, rate: int, window: float) -> bool:
        """Whether a window of `window` seconds is over and fewer than `rate` bytes a second have moved in it.

        `moved` counts bytes from any start. False while the window is open. After a window that was fast enough, the
        next one opens.
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
        """The pace of reading the answer, while bytes wait for the visitor."""

    def body_behind(self, now: float, moved: int, *, due: bool, rate: int, window: float) -> bool:
        """As `Pace.behind`, for the request's body while the visitor has to send it."""
        if not due:
            self._body = None
        elif self._body is None:
            self._body = Pace(now, moved)
        else:
            return self._body.behind(now, moved, rate=rate, window=window)
        return False

    def stop_reading(self) -> None:
        """No byte waits for the visitor any more."""
        self.read = None

    def read_behind(self, now: float, moved: int, *, rate: int, window: float) -> bool:
        """As `Pace.behind`, for the bytes that the visitor has taken."""
        if self.read is None:
            self.read = Pace(now, moved)
            return False
        return self.read.behind(now, moved, rate=rate, window=window)
