from __future__ import annotations

import asyncio
import time

import pytest

from ferry.clock import SystemClock
from ferry.observe.lag import LagSampler
from ferry.observe.metrics import Metrics
from hand_clock import HandClock
from turns import timers, until

LAG_REPORT_SECONDS = 0.25


async def test_a_blocked_loop_is_measured_and_reported() -> None:
    metrics = Metrics(version="", started=0)
    reported: asyncio.Queue[tuple[str, dict[str, object]]] = asyncio.Queue()
    sampler = LagSampler(
        SystemClock(), lambda event, /, **fields: reported.put_nowait((event, fields)), metrics.lag, interval=0.01
    )
    with sampler.running():
        time.sleep(LAG_REPORT_SECONDS + 0.1)
        event, fields = await asyncio.wait_for(reported.get(), 5)
        assert event == "loop.lag"
        assert isinstance(seconds := fields["seconds"], float)
        assert seconds > LAG_REPORT_SECONDS
        assert (metrics.registry.get_sample_value("ferry_event_loop_lag_seconds") or 0) > 0


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
