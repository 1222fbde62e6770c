"""A clock that a test sets forward, so that it need not wait."""

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
