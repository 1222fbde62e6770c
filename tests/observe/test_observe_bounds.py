"""What is kept of events and lines is bounded, however many come. The figures are this page's own: a bound in `limits`
that goes, or grows past all measure, is seen here."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ferry.clock import SystemClock
from ferry.names import Endpoint, TunnelId
from ferry.observe.batches import VisitBatch
from ferry.observe.budgeted import BudgetedLog, LogRates
from ferry.observe.events import Event, EventRing, TooManySubscribers
from ferry.observe.metrics import Metrics
from ferry.observe.observer import observing
from ferry.observe.render import human_lines, json_lines
from ferry.observe.sums import VisitSums
from ferry.observe.writer import LogWriter
from ferry.visits import Visit

LOG_TRACEBACK_LINES = 60
MANY = 20_000
VISIT = Visit(TunnelId("t1"), "blog", "http", Endpoint("192.0.2.1", 5), "GET", "/", 200, 0.01, 10, 2000)


def event(**fields: object) -> Event:
    return Event(0, 1_700_000_000.0, logging.INFO, "tunnel.refused", fields)


def test_events_that_are_kept() -> None:
    """EVENT_RING."""
    ring = EventRing()
    for _ in range(MANY):
        ring.add(0.0, logging.INFO, "tunnel.opened", {})
        ring.add(0.0, logging.INFO, "edge.refused", {})
    ring.add_visits(0.0, [VISIT] * MANY)
    assert 500 < len(ring.last()) < MANY // 4


async def test_events_that_wait_for_a_slow_follower() -> None:
    """EVENT_QUEUE."""
    ring = EventRing()
    with ring.subscribe() as slow:
        for _ in range(MANY):
            ring.add(0.0, logging.INFO, "tunnel.opened", {})
        ring.close()
        async with asyncio.timeout(20):
            got = [e async for e in slow]
    assert 500 < len(got) < MANY // 4
    assert got[0].name == "events.dropped"
    assert isinstance(got[0].fields, dict)
    assert got[0].fields["count"] + len(got) - 1 == MANY


def test_followers() -> None:
    ring = EventRing()
    with ExitStack() as stack:

        def follow(times: int) -> None:
            for _ in range(times):
                stack.enter_context(ring.subscribe())

        with pytest.raises(TooManySubscribers, match="end one of them"):
            follow(500)


def test_lines_that_wait_for_a_slow_reader() -> None:
    reader, writer = os.pipe()
    log = LogWriter(writer, json_lines(), now=lambda: 0.0)
    for number in range(3 * MANY):
        log.put(event(number=number))
    assert log.dropped > 2 * MANY
    os.close(reader)
    assert log.close(20)
    os.close(writer)


def test_a_text_of_a_stranger_makes_no_long_line() -> None:
    strange = event(asked="x" * 100_000, others=["é" * 100_000])
    assert len(json_lines()(strange)) < 8_000
    assert len(human_lines(colour=False)(strange)) < 8_000


def test_a_long_traceback_keeps_its_end() -> None:
    long = event(traceback="\n".join(f"line {number}" for number in range(MANY)))
    lines = json.loads(json_lines()(long))["traceback"].splitlines()
    assert len(lines) == LOG_TRACEBACK_LINES
    assert lines[-1] == f"line {MANY - 1}"


async def test_visits_of_one_turn_that_are_not_counted_yet() -> None:
    with Path(os.devnull).open("wb") as file, observing(SystemClock(), version="0", fd=file.fileno()) as observation:
        for _ in range(MANY // 10):
            observation.report("visit", visit=VISIT)
        counted = observation.metrics.registry.get_sample_value(
            "ferry_requests_total", {"kind": "http", "class": "2xx"}
        )
        assert counted is not None
        assert counted > MANY // 20
        await asyncio.sleep(0)  # the turn of the loop is over
        assert len(observation.events.last()) > 500


@dataclass
class Growth:
    bytes: int = 0


@contextmanager
def growth() -> Iterator[Growth]:
    """What Python's own memory grows by in the context."""
    found = Growth()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield found
        found.bytes = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_sources_that_are_remembered() -> None:
    """LOG_SOURCES."""
    counter = Metrics(version="0", started=0).log_omitted
    log = BudgetedLog(
        lambda _: None, clock=SystemClock(), omitted=counter, rates=LogRates(per_source=10**6), counted=str
    )
    with growth() as grown:
        for number in range(MANY):
            log.put(Event(0, 0.0, logging.INFO, "edge.refused", {"peer": f"192.0.{number}"}))
    assert grown.bytes < 1_000_000  # all of them would be 4 MB


def test_visits_that_wait_to_be_summed_up() -> None:
    sums = VisitSums()
    with growth() as grown:
        for number in range(MANY):
            sums.add(VisitBatch.of([VISIT._replace(up=number)], []))
    assert grown.bytes < 500_000  # all of them would be 3 MB
    ((count, fields),) = sums.take()
    assert (count, fields["up"]) == (MANY, MANY * (MANY - 1) // 2)
