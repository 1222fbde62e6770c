"""What Ferry means to reach beside the others, and whether it did in this run.

A ratio is taken within each round, because a machine's speed drifts; what counts is the median of those ratios, or the
worst of them where a bound is on what happens at worst.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from .results_table import Results, markdown
from .rows import slow
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
    always: bool = False
    """A bound on what happens at worst: every round has to hold it, not their median."""

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

    def judged(self, ratios: list[float]) -> float:
        """What the verdict is on: the median, or the worst round."""
        if not self.always:
            return statistics.median(ratios)
        if any(map(math.isnan, ratios)):
            return math.nan
        return min(ratios) if self.at_least else max(ratios)

    def verdict(self, results: Results, ratios: list[float]) -> str:
        """`held` or `MISSED`. A bound on the worst is missed where a round could not be measured, too."""
        if not ratios or (self.always and results.failed(self.row, self.ours)):
            return "MISSED (not measured)"
        value = self.judged(ratios)
        held = value >= self.limit if self.at_least else value <= self.limit  # NaN holds nothing
        return "held" if held else "MISSED"

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


def _of_attacks() -> Iterator[Target]:
    for row in slow.STRANGERS:
        yield Target(f"{row.name}: errors", row.name, "errors", 0.0, always=True)
        yield Target(f"{row.name}: p99", row.name, "p99", 1.0, limit_key="allowed", always=True)
        cut = 0.0 if row.name == slow.ROOM else 1.0
        yield Target(f"{row.name}: honest slow ones cut", row.name, "cut", cut, always=True)
    for row in slow.EXEMPT_ROWS:
        yield Target(f"{row.name}: errors %", row.name, "percent", 1.0, always=True)
        yield Target(f"{row.name}: last error, s after", row.name, "clean_after", 10.0, always=True)
    for row in (*slow.STRANGERS, *slow.EXEMPT_ROWS):
        yield Target(f"{row.name}: PSS a minute after, + MiB", row.name, "grown", 16.0, always=True)


TARGETS = (
    Target("keep-alive, as shipped / quiet", "log", "kept", 0.95, at_least=True),
    Target("differing heads, as shipped / quiet", "log", "differing", 0.95, at_least=True),
    Target("new connections, as shipped / quiet", "log", "new", 0.95, at_least=True),
    Target("keep-alive, req/s", "kept", "rate", 1.25, _SANDHOLE, at_least=True),
    Target("keep-alive, req/s", "kept", "rate", 2.5, _SISH, at_least=True),
    Target("keep-alive, req/s", "kept", "rate", 4.0, _FRP, at_least=True),
    Target("keep-alive, gateway CPU a request", "kept", "cpu", 1.0, _SANDHOLE),
    Target("keep-alive, errors %", "kept", "errors", 0.0, always=True),
    Target("differing heads, req/s", "differing", "rate", 1.25, _SANDHOLE, at_least=True),
    Target("differing heads, req/s", "differing", "rate", 2.5, _SISH, at_least=True),
    Target("differing heads, req/s", "differing", "rate", 4.0, _FRP, at_least=True),
    Target("differing heads, gateway CPU a request", "differing", "cpu", 1.0, _SANDHOLE),
    Target("differing heads, errors %", "differing", "errors", 0.0, always=True),
    Target("new connections, req/s", "new", "rate", 1.0, _SANDHOLE, at_least=True),
    Target("new connections, req/s", "new", "rate", 1.4, _SISH, at_least=True),
    Target("new connections, errors %", "new", "errors", 0.0, always=True),
    Target("p99 at 1,000/s", "steady", "p99", 1.0, _STOCK),
    Target("p99 at 1,000/s, errors %", "steady", "errors", 0.0, always=True),
    Target("1 GB down", "bulk", "down", 1.2, _ALL, at_least=True),
    Target("1 GB up", "bulk", "up", 1.2, _ALL, at_least=True),
    Target("PSS after a transfer, MB", "bulk", "pss", 64.0, always=True),
    Target("KB per idle tunnel", "idle", "memory", 0.6, _SANDHOLE),
    Target("start to first 200", "start", "median", 1.1, _SANDHOLE),
    Target("start to first 200", "start", "median", 0.05, _SISH),
    Target("stock clients at once, all answer", "storm", "all", 0.7, _STOCK),
    Target("clients back after kill -9", "comeback", "seconds", 1.0, limit_key="allowed", always=True),
    Target("p99 of 100 at once beside a download / calm", "beside", "ratio", 3.0, always=True),
    Target("log-in under DHEat, ms", "dheat", "under", 100.0),
    Target("slowest log-in under DHEat, ms", "dheat", "slowest", 1000.0, always=True),
    Target("slowest log-in beside a flood, ms", "flood", "slowest", 1000.0, always=True),
    Target("flood: memory afterwards, + MB", "flood", "pss_after", 16.8, always=True),
    Target("10,000 leavers: memory afterwards, + MiB", "leavers", "pss", 4.0, always=True),
    Target("a decision among 1,000 rules, µs", "policy", "decision", 50.0, always=True),
    Target("a decision among 1,000 rules, µs, 99th percentile", "policy", "p99", 50.0),
    Target("a reload with 1,000 rules and 10,000 keys, s", "policy", "reload", 1.0),
    Target("TCP port, down", "tcp-bulk", "down", 0.8, _SSHD, at_least=True, ours=PORT),
    Target("TCP port, up", "tcp-bulk", "up", 0.8, _SSHD, at_least=True, ours=PORT),
    Target("TCP port, keep-alive req/s", "tcp-kept", "rate", 1.2, _SSHD, at_least=True, ours=PORT),
    Target("TCP port, new connections req/s", "tcp-new", "rate", 1.2, _SSHD, at_least=True, ours=PORT),
    Target("TCP port, p99 at 1,000/s, ms (no 44 ms stall)", "tcp-steady", "p99", 20.0, ours=PORT, always=True),
    *(
        Target(f"TCP port, {what}, errors %", row, "errors", 0.0, ours=PORT, always=True)
        for what, row in (("keep-alive", "tcp-kept"), ("new connections", "tcp-new"), ("p99 at 1,000/s", "tcp-steady"))
    ),
    *_of_attacks(),
)


def target_table(results: Results) -> str:
    """Every target of what this run measured: the ratio, its spread over the rounds, and the verdict.

    Left out is only what this run did not try, and a ratio to a system that is not here.
    """
    lines = []
    for target in TARGETS:
        ratios = target.per_round(results)
        if not ratios and not results.failed(target.row, target.ours):
            continue
        value = f"{target.judged(ratios):.2f}" if ratios else ""
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else ""
        lines.append([target.text, target.what, value, spread, target.verdict(results, ratios)])
    return markdown(["measure", "target", "this run", "rounds", ""], lines) if lines else ""
