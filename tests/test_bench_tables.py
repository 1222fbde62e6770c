"""The tables that the bench prints: every measure once, no two columns alike, and nothing that is missed looks held."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from bench.__main__ import _report
from bench.attempts import attempts, least_disturbed
from bench.openloop import ERROR, figures
from bench.options import parse
from bench.processes import BenchError
from bench.results_table import ATTACKS, GROUPS, Results, pair_table, tables
from bench.rows import ROWS, Figure, Row
from bench.setting import Effort, Setting, Site
from bench.siege import per_second
from bench.systems import Ferry, System
from bench.targets import TARGETS, target_table
from bench.turns import in_turns

FACTS = {"date": "2026-11-21 05:30 UTC"}


def measured(*names: str) -> Results:
    """One round of these measures, every figure 1."""
    results = Results(rounds=1)
    for row in ROWS:
        if row.name in names:
            results.add(row, "Ferry", {figure.key: 1.0 for figure in row.figures})
    return results


def of_rounds(row_name: str, *rounds: dict[str, float] | None) -> Results:
    """That measure alone, in which every figure is 1 that a round does not say."""
    results = Results(rounds=len(rounds))
    row = next(row for row in ROWS if row.name == row_name)
    for each in rounds:
        sample = None if each is None else {figure.key: 1.0 for figure in row.figures} | each
        results.add(row, "Ferry", sample)
    return results


def verdicts(results: Results, text: str) -> list[str]:
    """The last cell of every line of the targets' table that begins with `text`."""
    lines = [line.strip("|").split("|") for line in target_table(results).splitlines()]
    return [line[-1].strip() for line in lines if line[0].strip() == text]


def test_every_measure_is_in_one_table() -> None:
    in_groups = [name for _, names in GROUPS for name in names]
    in_attacks = [row.name for _, _, rows in ATTACKS for row in rows]
    assert sorted(in_groups + in_attacks) == sorted(row.name for row in ROWS)


def test_the_lines_of_attacks_have_the_columns_that_their_table_names() -> None:
    for title, _, rows in ATTACKS:
        assert {row.figures for row in rows} == {rows[0].figures}
        assert len({row.title for row in rows}) == len(rows)
        head = tables(measured(*(row.name for row in rows))).split(f"## {title}\n")[1].splitlines()[3]
        titles = [cell.strip() for cell in head.strip("|").split("|")]
        assert len(titles) == len(set(titles)) == 1 + len(rows[0].figures)


@pytest.mark.parametrize("errors", [1.0, math.nan])
def test_one_bad_round_of_three_is_missed_and_shown(errors: float) -> None:
    results = of_rounds("kept", {"errors": 0.0}, {"errors": errors}, {"errors": 0.0})
    assert verdicts(results, "keep-alive, errors %") == ["MISSED"]
    assert verdicts(of_rounds("kept", *3 * [{"errors": 0.0}]), "keep-alive, errors %") == ["held"]
    if errors == 1.0:
        assert " 1.0 |" in tables(results)


def test_an_attack_that_could_not_be_measured_is_a_missed_target() -> None:
    assert verdicts(of_rounds("slow-bodies-2", None), "slow-bodies-2: errors") == ["MISSED (not measured)"]
    assert verdicts(of_rounds("dheat", {}, None), "slowest log-in under DHEat, ms") == ["MISSED (not measured)"]


def test_every_attack_has_a_target_for_errors_and_for_memory() -> None:
    for row in ROWS:
        if row.name.startswith("slow-"):
            keys = {target.key for target in TARGETS if target.row == row.name}
            assert keys & {"errors", "percent"}
            assert "grown" in keys


def test_p99_under_attack_may_be_what_calm_allows() -> None:
    held, missed = {"p99": 30.0, "allowed": 30.0}, {"p99": 30.1, "allowed": 30.0}
    assert verdicts(of_rounds("slow-heads-1", held), "slow-heads-1: p99") == ["held"]
    assert verdicts(of_rounds("slow-heads-1", missed), "slow-heads-1: p99") == ["MISSED"]
    assert verdicts(of_rounds("slow-heads-1", {"p99": math.nan}), "slow-heads-1: p99") == ["MISSED"]


def test_one_word_selects_all_attacks_and_a_quick_run_has_some() -> None:
    def names(*words: str) -> list[str]:
        return [row.name for row in parse(list(words)).rows if row.name.startswith("slow-")]

    assert names("--only", "slow") == names() == [row.name for row in ROWS if row.name.startswith("slow-")]
    assert names("--only", "slow", "--quick") == names()
    assert names("--only", "slow-heads-1") == ["slow-heads-1"]
    assert set(names("--quick")) < set(names())
    assert names("--quick")


def test_the_report_shows_each_second_of_an_attack() -> None:
    log = [(10.0, 0.001), (10.9, 0.003), (11.2, ERROR), (12.0, ERROR)]
    assert per_second([*log, (12.5, 0.002)], 10.0) == [
        {"second": 0, "requests": 2, "errors": 0, "p99": 3.0},
        {"second": 1, "requests": 1, "errors": 1, "p99": None},
        {"second": 2, "requests": 2, "errors": 1, "p99": 2.0},
    ]


def test_the_columns_of_a_table_have_different_titles() -> None:
    heads = [line for line in tables(measured(*(row.name for row in ROWS))).splitlines() if line.startswith("| system")]
    assert len(heads) == len(GROUPS)
    for head in heads:
        titles = [cell.strip() for cell in head.strip("|").split("|")]
        assert len(titles) == len(set(titles))


def test_one_round_has_no_median_and_an_unmeasured_row_no_target() -> None:
    one = parse(["--quick", "--only", "start", "--systems", "ferry"])
    text = _report(one, FACTS, [], measured("start"))
    assert "\nOne round (quick or partial" in text
    assert not any(target.row == "start" and not target.against for target in TARGETS)
    assert "Ratios and targets" not in text
    three = parse(["--rounds", "3"])
    assert "\nMedians of 3 interleaved rounds;" in _report(three, FACTS, [], measured("kept"))
    assert "## Ratios and targets" in _report(three, FACTS, [], measured("kept"))


def test_an_error_is_an_answer_that_took_for_ever() -> None:
    answered = [(float(n), 0.001) for n in range(98)]
    assert figures([*answered, (98.0, 0.5), (99.0, 0.5)]) == {"p50": 1.0, "p99": 500.0, "errors": 0.0}
    assert figures([*answered, (98.0, ERROR), (99.0, ERROR)]) == {"p50": 1.0, "p99": math.inf, "errors": 2.0}
    assert verdicts(of_rounds("slow-heads-1", {"p99": math.inf}), "slow-heads-1: p99") == ["MISSED"]


def test_two_checkouts_are_compared_by_the_ratios_of_each_round() -> None:
    results = Results(rounds=3)
    row = next(row for row in ROWS if row.name == "kept")
    for ours, theirs in ((110.0, 100.0), (60.0, 50.0), (90.0, 100.0)):
        results.add(row, "Ferry", {"rate": ours, "cpu": 1.0})
        results.add(row, "Ferry (before)", {"rate": theirs, "cpu": 2.0})
        results.add(row, "Ferry (control)", {"rate": theirs, "cpu": 1.9})
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in pair_table(results).splitlines()]
    assert ["kept: req/s", "Ferry", "1.100", "0.90 to 1.20", "3"] in lines
    assert ["kept: µs CPU a request", "Ferry", "0.500", "0.50 to 0.50", "3"] in lines
    assert ["kept: req/s", "Ferry (control)", "1.000", "1.00 to 1.00", "3"] in lines
    assert ["kept: µs CPU a request", "Ferry (control)", "0.950", "0.95 to 0.95", "3"] in lines


def test_another_checkout_must_have_been_set_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--against", str(tmp_path)])
    assert f"run {tmp_path}/scripts/setup" in capsys.readouterr().err
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/ferry").touch()
    compared = parse(["--against", str(tmp_path), "--systems", "ferry"])
    assert [system.name for system in compared.systems] == ["Ferry (before)", "Ferry"]
    assert not compared.whole
    controlled = parse(["--against", str(tmp_path), "--control", str(tmp_path), "--systems", "ferry"])
    assert [system.name for system in controlled.systems] == ["Ferry (before)", "Ferry (control)", "Ferry"]


def test_checkouts_take_turns_each_is_first_equally_often_and_the_first_turn_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def turn(_setting: Setting, site: Site) -> dict[str, float]:
        order.append(site.host)
        return {"rate": float(len(order)), "errors": float(len(order))}

    @contextmanager
    def site(_setting: Setting, system: System) -> Iterator[Site]:
        yield Site(system, 80, system.name, None)

    monkeypatch.setattr(Setting, "site", site)
    figures = (Figure("rate", "", more_is_better=True), Figure("errors", "", worst=True))
    row = Row("kept", "", figures, lambda _: True, lambda *_: {}, turn=turn, turns=2)
    systems = [Ferry(tmp_path), Ferry(tmp_path, control=True), Ferry()]
    found = in_turns(row, Setting(tmp_path, cast(Any, None), cast(Any, None), Effort()), systems)
    before, control, now = (system.name for system in systems)
    assert order == [before, control, now, control, now, before, now, before, control, before, control, now]
    assert found == {
        before: {"rate": 8.0, "errors": 10.0},
        control: {"rate": 8.0, "errors": 11.0},
        now: {"rate": 8.0, "errors": 12.0},
    }


def test_a_control_needs_a_second_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--control", str(tmp_path)])
    assert "--control goes with --against DIR" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("taken", "made", "counts"),
    [([0.02, 0.0], 1, 0), ([0.3, 0.04, 0.0], 2, 1), ([0.3, 0.2, 0.1, 0.2, 0.0], 4, 2)],
)
def test_a_measure_is_repeated_by_the_hosts_share_and_never_by_its_result(
    taken: list[float], made: int, counts: int
) -> None:
    class Host:
        def taken(self) -> float:
            return shares.pop(0)

    def measure() -> dict[str, float]:
        found.append(float(len(found)))
        if found[-1] == 0:
            raise BenchError("no tunnel")
        return {"errors": found[-1]}

    shares, found = list(taken), list[float]()
    pauses: list[float] = []
    every = attempts(measure, Host, pauses.append)
    assert pauses == [0, 10, 30, 90][:made]
    assert [attempt.taken for attempt in every] == taken[:made]
    assert least_disturbed(every) == every[counts]
    assert (every[0].found, every[0].fault) == (None, "no tunnel")


def test_a_report_lists_the_disturbed_rows() -> None:
    results = measured("start")
    results.host_took = {"round 1/1  start  Ferry": [0.2, 0.031], "round 1/1  kept  Ferry": [0.2, 0.11, 0.3, 0.4]}
    text = _report(parse(["--rounds", "1"]), FACTS, [], results)
    assert "never took less than 5% of the time:\n\n* round 1/1  kept  Ferry: 11%\n" in text
    assert "start  Ferry" not in text
