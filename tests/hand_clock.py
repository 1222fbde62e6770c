"""Clocks that a test sets forward, so that it need not wait."""

from __future__ import annotations

from ferry.clock import SystemClock


class HandClock(SystemClock):
    """The machine's own, and `ahead` seconds more."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def now(self) -> float:
        return super().now() + self.ahead


class StandingClock:
    """It stands until a test sets `seconds` forward, and tells times of day from `start` on."""

    def __init__(self, start: float = 0.0) -> None:
        self.start = start
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> float:
        return self.start + self.seconds
