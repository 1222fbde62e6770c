"""What Ferry means to reach beside the others, and whether it did in this run.

A ratio is taken within each round, because a machine's speed drifts; what counts is the median of those ratios.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from .results_table import Results, markdown
from .systems import Ferry, FerryPort, Frp, Sandhole, Sish, Sshd

OURS, PORT = Ferry.name, FerryPort.name
_SANDHOLE, _SISH, _FRP, _SSHD = (Sandhole.name,), (Sish.name,), (Frp.name,), (Sshd.name,)
_STOCK = (Sandhole.name, Sish.name)
_ALL = (*_STOCK, Frp.name)


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on one figure: as a ratio to the best of `against`, or absolute where that is empty."""

    text: str
    row: str
    key: str
    limit: float
    against: tuple[str, ...] = ()
    at_least: bool = False
    ours: str = OURS
    limit_key: str = ""
    """Where the bound is itself a figure of the same row."""
    within_spread: bool = False
    """A figure that the machine's own stalls make: one round that reaches it is enough."""

    def per_round(self, results: Results) -> list[float]:
        """The ratio (or the figure) of every round in which all that it needs was measured."""
        ours = results.values(self.row, self.ours, self.key)
        if self.limit_key:
            bound = results.values(self.row, self.ours, self.limit_key)
            return [a / b for a, b in zip(ours, bound, strict=True) if a is not None and b]
        if not self.against:
            return [value for value in ours if value is not None]
        ratios = []
        for number, value in enumerate(ours):
            others = [results.values(self.row, system, self.key)[number : number + 1] for system in self.against]
            known = [other[0] for other in others if other and other[0]]
            if value is not None and known:
                ratios.append(value / (max(known) if self.at_least else min(known)))
        return ratios

    def verdict(self, ratios: list[float]) -> str:
        """Of the median, and where it is missed, of the best round if that is enough."""
        if self._held(statistics.median(ratios)):
            return "held"
        if self.within_spread and any(map(self._held, ratios)):
            return "within the rounds' spread"
        return "MISSED"

    def _held(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def what(self) -> str:
        """`≥ 1.25 × Sandhole`."""
        sign = "≥" if self.at_least else "≤"
        if self.limit_key:
            return f"{sign} {self.limit:g} × what is allowed"
        if not self.against:
            return f"{sign} {self.limit:g}"
        others = self.against[0] if len(self.against) == 1 else f"the best of {', '.join(self.against)}"
        return f"{sign} {self.limit:g} × {others}"


TARGETS = (
    Target("keep-alive, req/s", "kept", "rate", 1.25, _SANDHOLE, at_least=True),
    Target("keep-alive, req/s", "kept", "rate", 2.5, _SISH, at_least=True),
    Target("keep-alive, req/s", "kept", "rate", 4.0, _FRP, at_least=True),
    Target("keep-alive, gateway CPU a request", "kept", "cpu", 1.0, _SANDHOLE),
    Target("keep-alive, errors %", "kept", "errors", 0.0),
    Target("differing heads, req/s", "differing", "rate", 1.25, _SANDHOLE, at_least=True),
    Target("differing heads, req/s", "differing", "rate", 2.5, _SISH, at_least=True),
    Target("differing heads, req/s", "differing", "rate", 4.0, _FRP, at_least=True),
    Target("differing heads, gateway CPU a request", "differing", "cpu", 1.0, _SANDHOLE),
    Target("differing heads, errors %", "differing", "errors", 0.0),
    Target("new connections, req/s", "new", "rate", 1.0, _SANDHOLE, at_least=True),
    Target("new connections, req/s", "new", "rate", 1.4, _SISH, at_least=True),
    Target("new connections, errors %", "new", "errors", 0.0),
    Target("p99 at 1,000/s", "steady", "p99", 1.0, _STOCK, within_spread=True),
    Target("p99 at 1,000/s, errors %", "steady", "errors", 0.0),
    Target("1 GB down", "bulk", "down", 1.2, _ALL, at_least=True),
    Target("1 GB up", "bulk", "up", 1.2, _ALL, at_least=True),
    Target("PSS after, MB", "bulk", "pss", 64.0),
    Target("KB per idle tunnel", "idle", "memory", 0.6, _SANDHOLE),
    Target("start to first 200", "start", "median", 1.1, _SANDHOLE),
    Target("start to first 200", "start", "median", 0.05, _SISH),
    Target("stock clients at once, all answer", "storm", "all", 0.7, _STOCK),
    Target("clients back after kill -9", "comeback", "seconds", 1.0, limit_key="allowed"),
    Target("p99 beside slow visitors, the worst of four kinds / calm", "slow", "worst", 3.0),
    Target("errors beside slow visitors, %", "slow", "errors", 0.0),
    Target("p99 of 100 at once beside a download / calm", "beside", "ratio", 3.0),
    Target("log-in under DHEat, ms", "dheat", "under", 100.0),
    Target("log-in beside a flood, ms", "flood", "under", 1000.0),
    Target("TCP port, down", "tcp-bulk", "down", 0.8, _SSHD, at_least=True, ours=PORT),
    Target("TCP port, up", "tcp-bulk", "up", 0.8, _SSHD, at_least=True, ours=PORT),
    Target("TCP port, keep-alive req/s", "tcp-kept", "rate", 1.2, _SSHD, at_least=True, ours=PORT),
    Target("TCP port, new connections req/s", "tcp-new", "rate", 1.2, _SSHD, at_least=True, ours=PORT),
    Target("TCP port, p99 at 1,000/s, ms (no 44 ms stall)", "tcp-steady", "p99", 20.0, ours=PORT),
)


def target_table(results: Results) -> str:
    """Every target of which this run measured both sides: the ratio, its spread over the rounds, and the verdict."""
    lines = []
    for target in TARGETS:
        ratios = target.per_round(results)
        if not ratios:
            continue
        middle, spread = f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"
        lines.append([target.text, target.what, middle, spread, target.verdict(ratios)])
    return markdown(["measure", "target", "this run", "rounds", ""], lines) if lines else ""
