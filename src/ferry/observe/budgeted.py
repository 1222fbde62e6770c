"""Decides which events get a line in the log. An event that a peer can cause at will has a budget, so that no peer fills
the disk.

Visits past the budget are summed up by tunnel once a second, in the event `visits`: lines and sums together account for
all visits. Other events past the budget are counted; every ten seconds `lines.omitted` gives their number and the source
that caused most of them. The metrics and `ferry events` always include every event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ferry import limits
from ferry.clock import Clock
from ferry.limiters.budgets import Budget, Budgets

from .batches import VisitBatch
from .events import Event
from .levels import LEVELS
from .metric_families import EventCounter
from .sources import CAUSED_BY, cause
from .sums import Omissions, VisitSums
from .texts import shown_fields


@dataclass(frozen=True, slots=True)
class LogRates:
    """Lines a second. A budget may be used for `limits.LOG_BURST_SECONDS` at once."""

    visits: float = limits.LOG_VISITS_PER_SECOND
    visits_per_tunnel: float = limits.LOG_VISITS_PER_TUNNEL
    per_source: float = limits.LOG_LINES_PER_SOURCE

    def of_visits(self) -> tuple[Budget, Budget]:
        """The budget of one tunnel, and the budget of all tunnels together."""
        burst = limits.LOG_BURST_SECONDS
        return Budget(self.visits_per_tunnel, burst), Budget(self.visits, burst)

    def of_events(self) -> tuple[Budget, Budget]:
        """The budget of one source, and the budget of all sources together, for each kind of event."""
        burst = limits.LOG_BURST_SECONDS
        return Budget(self.per_source, burst), Budget(self.per_source * limits.LOG_SOURCES_TOGETHER, burst)


AS_SHIPPED: Final = LogRates()


class BudgetedLog:
    """Stands between the observer and the log, in the event loop's thread. `write` gets each event that has a line."""

    def __init__(
        self,
        write: Callable[[Event], None],
        *,
        clock: Clock,
        omitted: EventCounter,
        rates: LogRates,
        counted: Callable[[str], str],
    ) -> None:
        """`omitted` counts lines left out, by event. `counted` groups peers' addresses into sources: see `sources.cause`."""
        self._write = write
        self._clock = clock
        self._omitted = omitted
        self._counted = counted
        self._visits = Budgets(*rates.of_visits(), limits.LOG_SOURCES)
        self._events = {event: Budgets(*rates.of_events(), limits.LOG_SOURCES) for event in CAUSED_BY}
        self._sums = VisitSums()
        self._omissions = Omissions()

    def use(self, rates: LogRates) -> None:
        """Use `rates` from now on."""
        self._visits.use(*rates.of_visits())
        for budgets in self._events.values():
            budgets.use(*rates.of_events())

    def put(self, event: Event) -> None:
        """Write the event's line, or count the line as left out."""
        budgets = self._events.get(event.name)
        if budgets is not None:
            source = cause(event.name, shown_fields(event.fields), self._counted)
            if not budgets.take(source, self._clock.monotonic()):
                self._omissions.add(event.name, source)
                return
        self._write(event)

    def put_visits(self, batch: VisitBatch) -> None:
        """Write lines for visits of one tunnel while its budget lasts, and sum up the others.

        All visits of a batch have the same time. Once the budget is used up it stays so, and the loop ends.
        """
        now, tunnel, written = self._clock.monotonic(), batch.visits[0].tunnel, 0
        while written < len(batch.events) and self._visits.take(tunnel, now):
            self._write(batch.events[written])
            written += 1
        if written < len(batch.events):
            self._sums.add(batch.after(written))

    def tell_visits(self) -> None:
        """Write the sums of visits without a line, if there are any."""
        for count, fields in self._sums.take():
            self._omitted.add("visit", count=count)
            self._write(Event(0, self._clock.now(), LEVELS["visits"], "visits", fields))

    def tell_omitted(self) -> None:
        """Write how many lines were left out, if any were."""
        self.tell_also(self._omissions.take())

    def tell_also(self, omitted: Iterable[tuple[str, int, dict[str, object]]]) -> None:
        """Write one `lines.omitted` for each entry of `omitted`, which is in the form of `Omissions.take`."""
        for event, count, fields in omitted:
            self._omitted.add(event, count=count)
            self._write(Event(0, self._clock.now(), LEVELS["lines.omitted"], "lines.omitted", fields))
