"""The tables that the bench prints: every measure once, and no two columns of a table alike."""

from __future__ import annotations

from bench.__main__ import _report
from bench.options import parse
from bench.results_table import GROUPS, Results, tables
from bench.rows import ROWS
from bench.targets import TARGETS

FACTS = {"date": "2026-11-21 05:30 UTC"}


def measured(*names: str) -> Results:
    """One round of these measures, every figure 1."""
    results = Results(rounds=1)
    for row in ROWS:
        if row.name in names:
            results.add(row, "Ferry", {figure.key: 1.0 for figure in row.figures})
    return results


def test_every_measure_is_in_one_table() -> None:
    assert sorted(name for _, names in GROUPS for name in names) == sorted(row.name for row in ROWS)


def test_the_columns_of_a_table_have_different_titles() -> None:
    heads = [line for line in tables(measured(*(row.name for row in ROWS))).splitlines() if line.startswith("| system")]
    assert len(heads) == len(GROUPS)
    for head in heads:
        titles = [cell.strip() for cell in head.strip("|").split("|")]
        assert len(titles) == len(set(titles))


def test_one_round_has_no_median_and_what_was_not_measured_no_targets() -> None:
    one = parse(["--quick", "--only", "start", "--systems", "ferry"])
    text = _report(one, FACTS, [], measured("start"))
    assert "\nOne round (quick or partial" in text
    assert not any(target.row == "start" and not target.against for target in TARGETS)
    assert "Ratios and targets" not in text
    three = parse(["--rounds", "3"])
    assert "\nMedians of 3 interleaved rounds;" in _report(three, FACTS, [], measured("kept"))
    assert "## Ratios and targets" in _report(three, FACTS, [], measured("kept"))
