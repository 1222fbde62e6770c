"""Limits the tracebacks in the log: a peer that has found a bug may trigger it again and again."""

from __future__ import annotations

import traceback

from ferry import limits
from ferry.clock import Clock
from ferry.limiters.budgets import Budget, Budgets

from .texts import TRACEBACK, ExcInfo, describe_exception


class Tracebacks:
    """The budget of tracebacks, by the place in the code that logs. For one thread; others need a lock around it."""

    def __init__(self, clock: Clock) -> None:
        burst = limits.TRACEBACK_BURST_SECONDS
        one_place, all_places = Budget(limits.TRACEBACKS_PER_SECOND, burst), Budget(limits.TRACEBACKS_TOGETHER, burst)
        self._clock = clock
        self._budgets = Budgets(one_place, all_places, limits.LOG_SOURCES)

    def explain(self, place: str, error: ExcInfo) -> dict[str, object]:
        """The fields of an exception: its traceback, or its last line alone once the budget is used up."""
        if self._budgets.take(place, self._clock.monotonic()):
            return {TRACEBACK: describe_exception(error)}
        return {"error": "".join(traceback.format_exception_only(error[1])).strip()}
