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


def random_token(nbytes: int = 8) -> str:
    """An unguessable lower-case hexadecimal word of `2 * nbytes` characters."""
    return secrets.token_hex(nbytes)


def random_number(below: int) -> int:
    """A number from 0 to `below - 1`, all equally likely: for spreading things in time."""
    return secrets.randbelow(below)
