"""What goes on in the tunnels of one session: for its live line, its window's title and its statistics."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from ferry import limits
from ferry.amounts import number, size, took
from ferry.kinds import kind_of
from ferry.names import Address, TunnelId
from ferry.visits import Traffic, Visit

_GAP: Final = "   "  # between two figures of the live line


class CountedTunnel(Protocol):
    """A tunnel that is up."""

    @property
    def id(self) -> TunnelId: ...
    @property
    def address(self) -> Address: ...
    @property
    def traffic(self) -> Traffic: ...


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of all tunnels that a session has had."""

    visits: Mapping[str, int] = field(default_factory=dict)
    """By what a visit is called."""
    up: int = 0
    down: int = 0

    def plus(self, word: str, traffic: Traffic) -> Totals:
        """These, and those of `traffic`, whose visits are called `word`."""
        visits = {**self.visits, word: self.visits.get(word, 0) + traffic.visits}
        return Totals(visits, self.up + traffic.up, self.down + traffic.down)


class Figures:
    """The figures of one session. Counts are read from the tunnels; only times and statuses are counted here."""

    __slots__ = ("_gone", "_seconds", "_statuses", "_tunnels", "_words")

    def __init__(self) -> None:
        self._tunnels: dict[TunnelId, tuple[str, Traffic]] = {}
        """Of the tunnels that were up at the last update, with what a visit is called."""
        self._gone = Totals()
        """Counts of tunnels that have closed since."""
        self._words = ["request"]
        """What visits are called: of the tunnels that are up, and of all that were visited."""
        self._seconds: deque[float] = deque(maxlen=limits.TIMES_REMEMBERED)
        """Of the last requests that were answered at once."""
        self._statuses: Counter[int] = Counter()
        """Requests by the first digit of their status; 0: the visitor left."""

    def visited(self, address: Address, visit: Visit, *, lasted: bool) -> None:
        """A visit is over. `lasted`: it was shown while it went on, and says nothing about the service's speed."""
        if kind_of(address.kind).has_status:
            self._statuses[visit.status // 100] += 1
            if visit.status and not lasted:
                self._seconds.append(visit.seconds)

    def update(self, tunnels: Iterable[CountedTunnel]) -> None:
        """Take note of the `tunnels` that are up now, and of those that have closed since the last update."""
        up = list(tunnels)
        now = {tunnel.id: (_word(tunnel), tunnel.traffic) for tunnel in up}
        for one in self._tunnels.keys() - now.keys():
            self._gone = self._gone.plus(*self._tunnels[one])
        self._tunnels = now
        words = {word for word, _ in now.values()} | {word for word, count in self._gone.visits.items() if count}
        self._words = sorted(words, reverse=True) or self._words

    @property
    def totals(self) -> Totals:
        """The counts of all tunnels, up and closed, of the last update."""
        totals = self._gone
        for word, traffic in self._tunnels.values():
            totals = totals.plus(word, traffic)
        return totals

    def within(self, percent: int) -> float | None:
        """The seconds within which so many per cent of the last requests were answered (nearest rank)."""
        ordered = sorted(self._seconds)
        return ordered[(len(ordered) * percent - 1) // 100] if ordered else None

    def counted(self, visits: Mapping[str, int], between: str = ", ") -> str:
        """`3 requests, 1 connection`, by the kinds of the tunnels."""
        return between.join(number(visits.get(word, 0), word) for word in self._words)

    def of(self, tunnel: CountedTunnel) -> str:
        """The counts of one tunnel."""
        traffic = tunnel.traffic
        return f"{number(traffic.visits, _word(tunnel))}, {size(traffic.up)} in, {size(traffic.down)} out"

    def live(self, visitors: int, unshown: Mapping[str, int] | None, width: int) -> str:
        """The live last line; what does not fit `width` is left out. `unshown`: visits that were not shown in this pause,
        by what they are called; None without a pause."""
        totals = self.totals
        parts = [] if unshown is None else [f"paused: {self.counted(unshown)} not shown"]
        parts += [
            f"{number(visitors, 'visitor')} now",
            self.counted(totals.visits, _GAP),
            size(totals.up + totals.down),
        ]
        if (half := self.within(50)) is not None:
            parts.append(f"p50 {took(half)}")
        while len(_GAP.join(parts)) > width and len(parts) > 1:
            parts.pop()
        return _GAP.join(parts)

    def lines(self, visitors: int) -> list[str]:
        """The statistics."""
        totals = self.totals
        found = [
            f"{self.counted(totals.visits)}, {size(totals.up)} in, {size(totals.down)} out, "
            f"{number(visitors, 'visitor')} now"
        ]
        if self._statuses:
            classes = (f"{digit}xx" if digit else "left" for digit in sorted(self._statuses))
            counts = (f"{name} {self._statuses[n]:,}" for name, n in zip(classes, sorted(self._statuses), strict=True))
            found.append(f"answers: {', '.join(counts)}")
        if self._seconds:
            times = (f"p{percent} {took(self.within(percent) or 0)}" for percent in (50, 90, 99))
            found.append(f"times: {', '.join(times)} (the last {number(len(self._seconds), 'request')})")
        return found


def _word(tunnel: CountedTunnel) -> str:
    """What a visit of this tunnel is called."""
    return kind_of(tunnel.address.kind).visit_word
