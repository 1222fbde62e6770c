"""The one `Report` of a worker: counts an event, keeps it for `ferry events`, and hands it to the log."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from ferry import limits
from ferry.clock import Clock
from ferry.registry.routes import Visit
from ferry.report import Report

from .events import Event, EventRing
from .levels import LEVELS, level_of, parse_level
from .metrics import Metrics
from .render import human_lines, json_lines
from .stdlib import routed
from .texts import TRACEBACK, describe_exception
from .writer import LogWriter

LogFormat = Literal["auto", "human", "json"]
LevelName = Literal["debug", "info", "warning", "error"]


class Observer:
    """Callable as `report(event, **fields)`, from the event loop's thread. Never blocks, never raises.

    `level` (as in `logging`) is the least severe that reaches the log and may be changed while running; counts are
    made of everything, and events of everything from INFO on.
    """

    def __init__(self, *, clock: Clock, metrics: Metrics, events: EventRing, log: LogWriter, level: int) -> None:
        self._now = clock.now
        self._handlers = metrics.handlers
        self._count_visits = metrics.count_visits
        self._events = events
        self._log = log
        self._visits: list[Visit] = []
        """Of this turn of the loop, in which nothing else was reported yet; at most VISITS_GATHERED."""
        self.level = level

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
        level = LEVELS.get(event) or level_of(event, fields)
        if level >= logging.INFO:
            entry = self._events.add(self._now(), level, event, fields)
            if level >= self.level:
                self._log.put(entry)
        elif level >= self.level:
            self._log.put(Event(0, self._now(), level, event, fields))

    def _gather(self, visit: object) -> None:
        """Visits are taken by the turn: one at a time each cost 5.5 µs, a quarter of the Python that serves it."""
        assert isinstance(visit, Visit)
        self._visits.append(visit)
        if len(self._visits) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.settle)
            except RuntimeError:  # no loop: a report made before it runs, or after
                self.settle()
        elif len(self._visits) >= limits.VISITS_GATHERED:
            self.settle()

    def settle(self) -> None:
        """Take the visits that wait for the end of the turn."""
        visits, self._visits = self._visits, []
        if not visits:
            return
        try:
            self._count_visits(visits)
        except Exception:  # see __call__
            self._failed("visit")
        entries = self._events.add_visits(self._now(), visits)
        if self.level <= logging.INFO:
            for entry in entries:
                self._log.put(entry)

    def _failed(self, event: str) -> None:
        self._handlers["report.failed"]({})
        error = sys.exc_info()
        trace = describe_exception(error) if error[0] is not None else ""
        self._log.put(Event(0, self._now(), logging.ERROR, "report.failed", {"about": event, TRACEBACK: trace}))


def bound(report: Report, **fixed: object) -> Report:
    """A `Report` that adds `fixed` fields (`session=…`, `tunnel=…`) to each event; a call's own fields win."""

    def bound_report(event: str, /, **fields: object) -> None:
        report(event, **{**fixed, **fields})

    return bound_report


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that `observing` has set up."""

    report: Observer
    metrics: Metrics
    events: EventRing
    log: LogWriter

    def set_level(self, level: LevelName) -> None:
        """Take `log.level` from a reloaded configuration."""
        self.report.level = parse_level(level)
        logging.getLogger().setLevel(self.report.level)


@contextmanager
def observing(
    clock: Clock, *, version: str, log_format: LogFormat = "auto", level: LevelName = "info", fd: int = 2
) -> Iterator[Observation]:
    """Observe while the context lasts, with log lines to `fd` (standard error); standard logging goes there too.

    At its end followers are told to stop and what waits for `fd` is written, for `limits.LOG_CLOSE_SECONDS` at most.
    """
    terminal = os.isatty(fd)
    human = log_format == "human" or (log_format == "auto" and terminal)
    render = human_lines(colour=terminal and "NO_COLOR" not in os.environ) if human else json_lines()
    log = LogWriter(fd, render, now=clock.now, size=limits.LOG_QUEUE)
    metrics, events = Metrics(version=version, started=clock.now()), EventRing()
    metrics.log_dropped.ask = lambda: log.dropped
    metrics.events_dropped.ask = lambda: events.dropped
    least = parse_level(level)
    observer = Observer(clock=clock, metrics=metrics, events=events, log=log, level=least)
    try:
        with routed(log.put, least):
            yield Observation(observer, metrics, events, log)
    finally:
        observer.settle()
        events.close()
        log.close()
