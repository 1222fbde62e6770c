"""Time and randomness, passed in. The only module that may read the system's clocks (ruff bans them elsewhere)."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps: for every time-out and lease."""
        ...

    def now(self) -> float:
        """Seconds since the epoch: for times that are shown or survive a restart, never for a time-out."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        return time.time()


class Steps:
    """Notices steps of the wall clock by comparing it with the monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = clock.now() - clock.monotonic()

    def stepped(self, seconds: float) -> bool:
        """Whether the clock was set by more than `seconds`, forward or back, since the last call."""
        before, self._ahead = self._ahead, self._clock.now() - self._clock.monotonic()
        return abs(self._ahead - before) > seconds


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, with milliseconds: `2026-01-31T12:00:00.000Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def random_token(nbytes: int = 8) -> str:
    """An unguessable lower-case hexadecimal word of `2 * nbytes` characters."""
    return secrets.token_hex(nbytes)


def random_number(below: int) -> int:
    """A number from 0 to `below - 1`, all equally likely: for spreading things in time."""
    return secrets.randbelow(below)
