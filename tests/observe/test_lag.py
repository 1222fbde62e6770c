from __future__ import annotations

import asyncio
import time
from functools import partial

import pytest

from ferry.clock import SystemClock
from ferry.observe.lag import LagSampler
from ferry.observe.metrics import Metrics
from hand_clock import HandClock, StandingClock
from turns import timers, until


async def test_a_blocked_loop_is_measured_and_reported() -> None:
    metrics = Metrics(version="", started=0)
    reported: asyncio.Queue[tuple[str, dict[str, object]]] = asyncio.Queue()
    sampler = LagSampler(
        SystemClock(), lambda event, /, **fields: reported.put_nowait((event, fields)), metrics.lag, interval=0.01
    )
    with sampler.running():
        time.sleep(0.35)
        event, fields = await asyncio.wait_for(reported.get(), 5)
        assert event == "loop.lag"
        assert isinstance(seconds := fields["seconds"], float)
        assert seconds > 0.3
        assert (metrics.registry.get_sample_value("ferry_event_loop_lag_seconds") or 0) > 0


async def test_a_lag_of_a_quarter_of_a_second_is_measured_and_a_longer_one_reported() -> None:
    """LAG_REPORT_SECONDS."""
    metrics, clock, reported = Metrics(version="", started=0), StandingClock(), list[object]()

    def is_measured(lag: float) -> bool:
        return metrics.registry.get_sample_value("ferry_event_loop_lag_seconds") == lag

    for lag in (0.25, 0.375):
        sampler = LagSampler(clock, lambda _, /, **fields: reported.append(fields["seconds"]), metrics.lag, interval=0)
        with sampler.running():
            clock.seconds += lag
            await until(partial(is_measured, lag))
    assert reported == [0.375]


async def test_once_it_has_ended_nothing_is_sampled() -> None:
    metrics, clock, reported = Metrics(version="", started=0), HandClock(), list[str]()
    sampler = LagSampler(clock, lambda event, /, **_: reported.append(event), metrics.lag, interval=0.001)
    with sampler.running():
        pass
    clock.ahead += 1000
    await timers(10 * 0.001)
    assert not reported
    assert metrics.registry.get_sample_value("ferry_event_loop_lag_seconds") == 0


async def test_the_samples_go_on_after_a_report_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    metrics, clock, reported = Metrics(version="", started=0), HandClock(), asyncio.Event()
    failed: list[bool] = []

    def report(_event: str, /, **_: object) -> None:
        if failed:
            reported.set()
            return
        failed.append(True)
        raise ZeroDivisionError

    with LagSampler(clock, report, metrics.lag, interval=0.001).running():
        clock.ahead += 1000
        await until(lambda: failed)
        clock.ahead += 1000
        async with asyncio.timeout(5):
            await reported.wait()
    assert len(caplog.records) == 1
