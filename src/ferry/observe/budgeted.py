"""Which events get a line of log. What a peer can cause at will has a budget, so that nobody fills a disk.

A visit past its budget is summed up by tunnel, once a second (`visits`): lines and sums make up all visits. Another
event past its budget is counted, and `lines.omitted` says every ten seconds how many there were and who caused most.
Counts in the metrics and what `ferry events` shows are of everything.
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
from .sources import CAUSED_BY, cause
from .sums import Omissions, VisitSums
from .tally import Tally
from .texts import shown_fields


@dataclass(frozen=True, slots=True)
class LogRates:
    """Lines a second. A budget may be used for `limits.LOG_BURST_SECONDS` at once."""

    visits: float = limits.LOG_VISITS_PER_SECOND
    visits_per_tunnel: float = limits.LOG_VISITS_PER_TUNNEL
    per_source: float = limits.LOG_LINES_PER_SOURCE

    def of_visits(self) -> tuple[Budget, Budget]:
        """For a tunnel, and for all."""
        burst = limits.LOG_BURST_SECONDS
        return Budget(self.visits_per_tunnel, burst), Budget(self.visits, burst)

    def of_events(self) -> tuple[Budget, Budget]:
        """For a source, and for all, of each kind of event."""
        burst = limits.LOG_BURST_SECONDS
        return Budget(self.per_source, burst), Budget(self.per_source * limits.LOG_SOURCES_TOGETHER, burst)


AS_SHIPPED: Final = LogRates()


class BudgetedLog:
    """Between the observer and the log; of the event loop's thread. `write` takes what has a line."""

    def __init__(
        self,
        write: Callable[[Event], None],
        *,
        clock: Clock,
        omitted: Tally,
        rates: LogRates,
        counted: Callable[[str], str],
    ) -> None:
        """`omitted` counts by event. `counted` gives what is one source with a peer's address: see `sources.cause`."""
        self._write = write
        self._clock = clock
        self._tally = omitted
        self._counted = counted
        self._visits = Budgets(*rates.of_visits(), limits.LOG_SOURCES)
        self._events = {event: Budgets(*rates.of_events(), limits.LOG_SOURCES) for event in CAUSED_BY}
        self._sums = VisitSums()
        self._omissions = Omissions()

    def use(self, rates: LogRates) -> None:
        """Take other rates."""
        self._visits.use(*rates.of_visits())
        for budgets in self._events.values():
            budgets.use(*rates.of_events())

    def put(self, event: Event) -> None:
        """Write its line, or count it."""
        budgets = self._events.get(event.name)
        if budgets is not None:
            source = cause(event.name, shown_fields(event.fields), self._counted)
            if not budgets.take(source, self._clock.monotonic()):
                self._omissions.add(event.name, source)
                return
        self._write(event)

    def put_visits(self, batch: VisitBatch) -> None:
        """The same for visits of one tunnel that ended together.

        Once it has nothing left at this moment, the visits that follow have nothing either: they are not asked about
        one by one.
        """
        now, tunnel, written = self._clock.monotonic(), batch.visits[0].tunnel, 0
        while written < len(batch.events) and self._visits.take(tunnel, now):
            self._write(batch.events[written])
            written += 1
        if written < len(batch.events):
            self._sums.add(batch.after(written))

    def tell_visits(self) -> None:
        """Write the sums of visits, if there are any."""
        for count, fields in self._sums.take():
            self._tally.add("visit", count=count)
            self._write(Event(0, self._clock.now(), LEVELS["visits"], "visits", fields))

    def tell_omitted(self) -> None:
        """Write how many lines were left out, if any were."""
        self.tell_also(self._omissions.take())

    def tell_also(self, omitted: Iterable[tuple[str, int, dict[str, object]]]) -> None:
        """Write what others have left out, as `Omissions.take` gives it."""
        for event, count, fields in omitted:
            self._tally.add(event, count=count)
            self._write(Event(0, self._clock.now(), LEVELS["lines.omitted"], "lines.omitted", fields))
