"""Measures how late the event loop runs its timers. All of the gateway's work waits that long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from ferry import limits
from ferry.clock import Clock
from ferry.report import Report

from .metric_families import EventGauge


class LagSampler:
    """Sets a timer every `interval` seconds and measures how late it fires. `gauge` gets each lag in seconds. A lag past
    `limits.LAG_REPORT_SECONDS` is reported as `loop.lag`."""

    def __init__(
        self, clock: Clock, report: Report, gauge: EventGauge, *, interval: float = limits.LAG_SAMPLE_SECONDS
    ) -> None:
        self._clock = clock
        self._report = report
        self._gauge = gauge
        self._interval = interval
        self._due = 0.0
        self._timer: asyncio.TimerHandle

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sample while the context lasts."""
        self._arm()
        try:
            yield
        finally:
            self._timer.cancel()

    def _arm(self) -> None:
        self._due = self._clock.monotonic() + self._interval
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._sample)

    def _sample(self) -> None:
        lag = max(0.0, self._clock.monotonic() - self._due)
        self._arm()  # first: an error below must not end the samples
        self._gauge.set(lag)
        if lag > limits.LAG_REPORT_SECONDS:
            self._report("loop.lag", seconds=lag)
