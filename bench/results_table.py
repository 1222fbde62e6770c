"""Medians over the rounds (of errors and the like: the worst), as tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from . import siege
from .rows import ROWS, Figure, Row, slow
from .slow import REOPENS_PER_SECOND
from .systems import CONTROL, before

Sample = dict[str, float]


@dataclass
class Results:
    """What was measured: for each row and system one sample a round, None where it could not be made."""

    rounds: int = 0
    samples: dict[str, dict[str, list[Sample | None]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    host_took: dict[str, list[float]] = field(default_factory=dict)
    """By measure, for each attempt: the share of the time that the machine's host took (`machine.HostShare`)."""
    details: dict[str, object] = field(default_factory=dict)
    """What rows say beside their figures."""

    def add(self, row: Row, system: str, sample: Sample | None) -> None:
        self.samples.setdefault(row.name, {}).setdefault(system, []).append(sample)

    def values(self, row: str, system: str, key: str) -> list[float | None]:
        """One figure of every round."""
        found = self.samples.get(row, {}).get(system, [])
        return [sample.get(key) if sample else None for sample in found]

    def shown(self, row: str, system: str, figure: Figure) -> float | None:
        """The median over the rounds, or their worst where that is what the figure shows."""
        known = [value for value in self.values(row, system, figure.key) if value is not None]
        if not known:
            return None
        return max(known) if figure.worst else statistics.median(known)

    def failed(self, row: str, system: str) -> bool:
        """Whether a round could not be measured."""
        return any(sample is None for sample in self.samples.get(row, {}).get(system, []))


_FROM = (
    f"{slow.CONNECTIONS:,} slow visitors who come back whenever they are closed, {REOPENS_PER_SECOND} a second at most: "
    f"{siege.RATE:,} other requests/s, from the attack's first connection to its last, once"
)
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("HTTP, requests", ("kept", "differing", "new")),
    ("HTTP, what the log costs", ("log",)),
    ("HTTP, time and volume", ("steady", "bulk")),
    ("Tunnels", ("idle", "start", "storm", "comeback")),
    ("A plain TCP port (aes128-gcm), requests", ("tcp-kept", "tcp-new")),
    ("A plain TCP port (aes128-gcm), time and volume", ("tcp-steady", "tcp-bulk")),
    ("The operator's policy", ("policy",)),
    ("Under attack", ("beside", "dheat", "flood", "leavers")),
)
ATTACKS: tuple[tuple[str, str, tuple[Row, ...]], ...] = (
    ("Beside slow visitors", f"{_FROM}. `limits.exempt` is without loopback", slow.STRANGERS),
    (
        "Beside slow visitors behind the same proxy",
        f"{_FROM}. Attackers and all others come from one address that is in `limits.exempt`, as a proxy that carries everybody",
        slow.EXEMPT_ROWS,
    ),
)
"""Title, what its rows have in common, and rows that have the same figures: one line each."""


def tables(results: Results) -> str:
    """All groups that have something, as Markdown."""
    rows = {row.name: row for row in ROWS}
    parts = []
    for title, names in GROUPS:
        measured = [rows[name] for name in names if results.samples.get(name)]
        if measured:
            notes = "\n".join(f"* {row.name}: {row.title}" for row in measured)
            parts.append(f"## {title}\n\n{notes}\n\n{_table(results, measured)}")
    for title, common, lines in ATTACKS:
        if measured := [row for row in lines if results.samples.get(row.name)]:
            parts.append(f"## {title}\n\n{common}.\n\n{_line_table(results, measured)}")
    return "\n\n".join(parts)


def pair_table(results: Results) -> str:
    """This checkout beside another: of every figure the ratio in each round, their median and their spread. A control
    has lines of its own, beside the same other checkout."""
    lines = []
    for row in ROWS:
        for system in results.samples.get(row.name, {}):
            for figure in row.figures:
                pairs = zip(
                    results.values(row.name, system, figure.key),
                    results.values(row.name, before(system.removesuffix(CONTROL)), figure.key),
                    strict=False,
                )
                if ratios := [ours / theirs for ours, theirs in pairs if ours is not None and theirs]:
                    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
                    what = f"{row.name}: {figure.title}"
                    lines.append([what, system, f"{statistics.median(ratios):.3f}", spread, str(len(ratios))])
    return markdown(["figure", "system", "median", "rounds", "pairs"], lines)


def _line_table(results: Results, rows: Sequence[Row]) -> str:
    several = len({system for row in rows for system in results.samples[row.name]}) > 1
    head = ["attack", *(figure.title for figure in rows[0].figures)]
    lines = [
        [
            f"{row.title} ({system})" if several else row.title,
            *(_cell(results, row, system, figure) for figure in row.figures),
        ]
        for row in rows
        for system in results.samples[row.name]
    ]
    return markdown(head, lines)


def _table(results: Results, rows: Sequence[Row]) -> str:
    systems: dict[str, None] = {}  # in the order of the first round
    for row in rows:
        systems |= dict.fromkeys(results.samples[row.name])
    columns = [(row, figure) for row in rows for figure in row.figures]
    head = ["system", *(f"{row.name}: {figure.title}" for row, figure in columns)]
    lines = [[system, *(_cell(results, row, system, figure) for row, figure in columns)] for system in systems]
    return markdown(head, lines)


def _cell(results: Results, row: Row, system: str, figure: Figure) -> str:
    if system not in results.samples[row.name]:
        return ""
    value = results.shown(row.name, system, figure)
    if value is None:
        return "failed" if results.failed(row.name, system) else ""
    return f"{value:,.{figure.digits}f}"


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table whose columns line up, so that it reads well in a terminal too."""
    cells = [list(head), *map(list, lines)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]

    def drawn(line: Sequence[str]) -> str:
        first, *others = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        return "| " + " | ".join([first, *(cell.strip().rjust(len(cell)) for cell in others)]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([drawn(cells[0]), rule, *map(drawn, cells[1:])])
