"""Sums up events that have no log line of their own: visits by tunnel and outcome, other events by number and source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ferry import limits

from .batches import VisitBatch
from .metrics import status_class

OTHERS = ""
"""Stands for all tunnels past the first `limits.VISITS_SUMMED`."""


class VisitSum:
    """Sums up the visits of one tunnel that have no line."""

    __slots__ = ("_statuses", "address", "down", "kind", "slowest", "tunnel", "up")

    def __init__(self, tunnel: str, address: str, kind: str) -> None:
        self.tunnel, self.address, self.kind = tunnel, address, kind
        self.up = self.down = 0
        self.slowest = 0.0
        self._statuses: Counter[int] = Counter()

    def add(self, batch: VisitBatch) -> None:
        self._statuses.update(batch.statuses)
        self.up += batch.up
        self.down += batch.down
        self.slowest = max(self.slowest, batch.slowest)

    def counts(self) -> tuple[int, dict[str, int]]:
        """The number of visits, in all and by class of status."""
        classes: Counter[str] = Counter()
        for status, count in self._statuses.items():
            classes[f"status_{status_class(status)}"] += count
        return classes.total(), dict(sorted(classes.items()))


class VisitSums:
    """The visits since the last summary that have no line, by tunnel."""

    def __init__(self, tunnels: int = limits.VISITS_SUMMED) -> None:
        self._most = tunnels
        self._sums: dict[str, VisitSum] = {}

    def add(self, batch: VisitBatch) -> None:
        """Add visits of one tunnel."""
        first = batch.visits[0]
        found = self._sums.get(first.tunnel)
        if found is None and len(self._sums) < self._most:
            found = self._sums[first.tunnel] = VisitSum(first.tunnel, first.address, first.kind)
        elif found is None:
            found = self._sums.setdefault(OTHERS, VisitSum(OTHERS, "others", ""))
        found.add(batch)

    def take(self) -> Iterator[tuple[int, dict[str, object]]]:
        """For each tunnel: the number of visits, and the fields of its event `visits`. Counting begins anew."""
        sums, self._sums = self._sums, {}
        for found in sums.values():
            count, classes = found.counts()
            whose = {"tunnel": found.tunnel, "address": found.address, "kind": found.kind}
            what = {"up": found.up, "down": found.down, "slowest": found.slowest}
            yield count, {**whose, "count": count, **classes, **what}


class Omissions:
    """Counts the lines left out since the last summary, by event and source."""

    def __init__(self, sources: int = limits.LOG_SOURCES_SHOWN) -> None:
        self._most = sources
        self._counts: dict[str, int] = {}
        self._by: dict[str, Counter[str]] = {}

    def add(self, event: str, source: str) -> None:
        """Count a line of `event` that was left out. Past the bound a new source is counted in the total alone."""
        self._counts[event] = self._counts.get(event, 0) + 1
        by = self._by.get(event)
        if by is None:
            by = self._by[event] = Counter()
        if source and (source in by or len(by) < self._most):
            by[source] += 1

    def take(self) -> Iterator[tuple[str, int, dict[str, object]]]:
        """For each event: its name, the count, and the fields of its `lines.omitted`. Counting begins anew."""
        counts, by = self._counts, self._by
        self._counts, self._by = {}, {}
        for event, count in counts.items():
            fields: dict[str, object] = {"about": event, "count": count}
            if by[event]:
                (most, of_it), *_ = by[event].most_common(1)
                fields |= {"sources": len(by[event]), "most": most, "of_it": of_it}
            yield event, count, fields
