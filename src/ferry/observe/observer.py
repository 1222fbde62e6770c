"""The one `Report` of a worker: counts an event, keeps it for `ferry events`, and hands it to the log."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from ferry import limits
from ferry.clock import Clock
from ferry.visits import Visit

from .batches import batches
from .budgeted import AS_SHIPPED, BudgetedLog, LogRates
from .events import Event, EventRing
from .levels import LEVELS, level_of, parse_level
from .metrics import Metrics
from .render import human_lines, json_lines
from .stdlib import RoutedHandler, routed
from .tracebacks import Tracebacks
from .writer import LogWriter

LogFormat = Literal["auto", "human", "json"]
LevelName = Literal["debug", "info", "warning", "error"]


def _nobody(_event: str, _fields: Mapping[str, object]) -> None:
    """The listener before `also_tell`."""


class Observer:
    """Call it as `report(event, **fields)`, from the event loop's thread. It never blocks and never raises.

    Events below `level` (as in `logging`) do not reach the log. The metrics count every event, and `ferry events` shows
    every event from INFO on.
    """

    def __init__(self, *, clock: Clock, metrics: Metrics, events: EventRing, log: BudgetedLog, level: int) -> None:
        self._now = clock.now
        self._tracebacks = Tracebacks(clock)
        self._handlers = metrics.handlers
        self._count_visits = metrics.count_visits
        self._events = events
        self._log = log
        self._visits: list[Visit] = []
        """Visits since the last other report: VISITS_GATHERED at most, for VISITS_GATHER_SECONDS at most."""
        self._settles: asyncio.TimerHandle | None = None
        self._level = level
        self._also_of: Collection[str] = ()
        self._also: Callable[[str, Mapping[str, object]], None] = _nobody

    def also_tell(self, events: Collection[str], listener: Callable[[str, Mapping[str, object]], None]) -> None:
        """Call `listener` with the name and the fields of each of `events`, too. `visit` is not among them."""
        self._also_of, self._also = events, listener

    def use_level(self, level: int) -> None:
        """Take another least level of the log."""
        self._level = level

    def __call__(self, event: str, /, **fields: object) -> None:
        if event == "visit":
            self._gather(fields["visit"])
            return
        if self._visits:
            self.settle()
        if handler := self._handlers.get(event):
            try:
                handler(fields)
            except Exception:  # a report is made on the hot path, whose work matters more than its count
                self._failed(event)
        if event in self._also_of:
            try:
                self._also(event, fields)
            except Exception:  # as above
                self._failed(event)
        level = LEVELS.get(event) or level_of(event, fields)
        if level >= logging.INFO:
            entry = self._events.add(self._now(), level, event, fields)
            if level >= self._level:
                self._log.put(entry)
        elif level >= self._level:
            self._log.put(Event(0, self._now(), level, event, fields))

    def _gather(self, visit: object) -> None:
        """Gather visits, to count and log them together. One at a time, a visit costs 5.5 µs, a quarter of the Python
        that serves it. Gathered for one turn of the loop, it costs 2.3 µs, and 3.8 with the log: a busy loop has
        thousands of turns a second."""
        assert isinstance(visit, Visit)
        self._visits.append(visit)
        if self._settles is None:
            try:
                self._settles = asyncio.get_running_loop().call_later(limits.VISITS_GATHER_SECONDS, self._settle_all)
            except RuntimeError:  # no loop: a report made before it runs, or after
                self.settle()
        elif len(self._visits) >= limits.VISITS_GATHERED:
            self.settle()

    def _settle_all(self) -> None:
        self._settles = None
        self.settle()

    def settle(self) -> None:
        """Count the gathered visits, add them to the ring of events, and hand them to the log."""
        visits, self._visits = self._visits, []
        events = self._events.add_visits(self._now(), visits)
        try:
            for batch in batches(visits, events):
                self._count_visits(batch)
                if self._level <= logging.INFO:
                    self._log.put_visits(batch)
        except Exception:  # see __call__
            self._failed("visit")

    def _failed(self, event: str) -> None:
        self._handlers["report.failed"]({})
        why: dict[str, object] = {}
        if (error := sys.exc_info())[0] is not None:
            why = self._tracebacks.explain(event, error)
        self._log.put(Event(0, self._now(), logging.ERROR, "report.failed", {"about": event, **why}))


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that `observing` has set up."""

    report: Observer
    metrics: Metrics
    events: EventRing
    log: LogWriter
    budgeted: BudgetedLog
    routed: RoutedHandler

    def set_level(self, level: LevelName) -> None:
        """Take `log.level` from a reloaded configuration."""
        least = parse_level(level)
        self.report.use_level(least)
        logging.getLogger().setLevel(least)

    def set_rates(self, rates: LogRates) -> None:
        """Take the budgets of log lines from a reloaded configuration."""
        self.budgeted.use(rates)
        self.routed.use(rates)

    @contextmanager
    def summing_up(self) -> Iterator[None]:
        """Write the sums of left-out lines periodically while the context lasts. It needs a running loop."""
        loop, told, timer = asyncio.get_running_loop(), 0.0, None

        def tell() -> None:
            nonlocal told, timer
            timer = loop.call_later(limits.LOG_SUMMARY_SECONDS, tell)  # first: an error below must not end the sums
            self.report.settle()
            self.budgeted.tell_visits()
            if (told := told + limits.LOG_SUMMARY_SECONDS) >= limits.LOG_OMITTED_SECONDS:
                told = 0.0
                self.tell_omitted()

        timer = loop.call_later(limits.LOG_SUMMARY_SECONDS, tell)
        try:
            yield
        finally:
            timer.cancel()

    def tell_omitted(self) -> None:
        """Write how many lines were left out, by event."""
        self.budgeted.tell_omitted()
        self.budgeted.tell_also(self.routed.take_omitted())

    def tell_all(self) -> None:
        """Write everything that still waits: the log is about to close."""
        self.report.settle()
        self.budgeted.tell_visits()
        self.tell_omitted()


@contextmanager
def observing(
    clock: Clock,
    *,
    version: str,
    log_format: LogFormat = "auto",
    level: LevelName = "info",
    fd: int = 2,
    rates: LogRates = AS_SHIPPED,
    counted: Callable[[str], str] = str,
) -> Iterator[Observation]:
    """Observe while the context lasts, with log lines to `fd` (standard error); standard logging goes there too.

    `counted` maps a peer's address to its source; empty for an address that is not counted. At the end subscriptions
    end, and the lines that wait are written to `fd` within `limits.LOG_CLOSE_SECONDS`.
    """
    terminal = os.isatty(fd)
    human = log_format == "human" or (log_format == "auto" and terminal)
    render = human_lines(colour=terminal and "NO_COLOR" not in os.environ) if human else json_lines()
    log = LogWriter(fd, render, now=clock.now, size=limits.LOG_QUEUE)
    metrics, events = Metrics(version=version, started=clock.now()), EventRing()
    metrics.log_dropped.poll(lambda: log.dropped)
    metrics.events_dropped.poll(lambda: events.dropped)
    least = parse_level(level)
    budgeted = BudgetedLog(log.put, clock=clock, omitted=metrics.log_omitted, rates=rates, counted=counted)
    observer = Observer(clock=clock, metrics=metrics, events=events, log=budgeted, level=least)
    metrics.families.before = observer.settle
    events.call_before_reading(observer.settle)
    handler = RoutedHandler(log.put, clock=clock, rates=rates)
    observation = Observation(observer, metrics, events, log, budgeted, handler)
    try:
        with routed(handler, least):
            yield observation
    finally:
        observation.tell_all()
        events.close()
        log.close()
