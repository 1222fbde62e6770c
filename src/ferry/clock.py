"""Time and randomness, passed in. The only module that may read the system's clocks (ruff bans them elsewhere)."""

from __future__ import annotations

import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """Where a component gets its time from."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps: for every time-out and lease."""
        ...

    def now(self) -> float:
        """Seconds since the epoch: for what is shown or must survive a restart, never for a time-out."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        return time.time()


class Steps:
    """Notices that the wall clock was set, by comparing it with the one that never jumps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = clock.now() - clock.monotonic()

    def stepped(self, seconds: float) -> bool:
        """Whether it was set by more than `seconds`, forth or back, since this was last asked."""
        before, self._ahead = self._ahead, self._clock.now() - self._clock.monotonic()
        return abs(self._ahead - before) > seconds


def random_token(nbytes: int = 8) -> str:
    """An unguessable lower-case hexadecimal word of `2 * nbytes` characters."""
    return secrets.token_hex(nbytes)


def random_number(below: int) -> int:
    """A number from 0 to `below - 1`, all equally likely: for spreading things in time."""
    return secrets.randbelow(below)
