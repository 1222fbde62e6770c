"""`make mutants` finds guards, and makes valid Python without them."""

from __future__ import annotations

import dataclasses
import signal
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
from mutants import child, survivors, switch
from mutants import run as runs
from mutants.instrument import instrumented
from mutants.judge import Judge, Verdict
from mutants.plugins import First
from mutants.reach import Reach
from mutants.report import show
from mutants.sites import Site, sites_in
from mutants.speakers import OTHERS
from mutants.words import naming

MODULE = """
class Door:
    closed = False

    def enter(self, name: str, rank: int) -> bool:
        if self.closed:
            raise PermissionError
        if name and (guest := name.strip()):
            self.last = guest
        return rank < self.limits.rank

    def close(self) -> None:
        self.closed = True

    def look(self, grant: Grant) -> str:
        grant.require("look")
        return "a room"
"""


@pytest.fixture
def sites(tmp_path: Path) -> list[Site]:
    (tmp_path / "src/ferry").mkdir(parents=True)
    (tmp_path / "src/ferry/door.py").write_text(MODULE)
    return sites_in(tmp_path, "door.py")


def test_each_kind_of_protection_is_found_once(sites: list[Site]) -> None:
    assert [(site.line, site.kind, site.source) for site in sites] == [
        (6, "guard", "self.closed"),
        (8, "operand", "name"),
        (8, "operand", "(guest := name.strip())"),
        (10, "verdict", "rank < self.limits.rank → True"),
        (10, "bound", "rank < self.limits.rank"),
        (13, "flag", "self.closed = True"),
        (16, "demand", "grant.require('look')"),
    ]


def test_a_mutant_lacks_its_protection_alone(sites: list[Site]) -> None:
    for site in sites:
        changed = site.applied(MODULE.encode()).decode()
        assert changed.splitlines()[: site.line - 1] == MODULE.splitlines()[: site.line - 1]
        names: dict[str, type] = {"Grant": object}
        exec(compile(changed.replace("grant: Grant", "grant"), "door.py", "exec"), names)
        if site.kind == "guard":
            door = names["Door"]()
            door.closed = True
            door.limits = type("Limits", (), {"rank": 3})
            assert door.enter("ann", 2) is True
            assert door.last == "ann"


@pytest.mark.parametrize("on", range(8))
def test_a_module_with_all_mutants_behaves_like_the_active_one(
    on: int, sites: list[Site], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(switch, "ACTIVE", tmp_path / "active")
    numbered = dict(enumerate(sites, start=1))
    text = MODULE.encode()
    alone = numbered[on].applied(text) if on else text
    together = instrumented(text, numbered)
    switch.turn_on(on)
    try:
        assert _shown(together) == _shown(alone)
        assert on == 0 or _shown(alone) != _shown(text)
    finally:
        switch.turn_on(switch.NONE)


def _shown(text: bytes) -> list[object]:
    """What the door does for each guest."""
    names: dict[str, type] = {}
    exec(compile(text.replace(b"grant: Grant", b"grant"), "door.py", "exec"), names)
    shown: list[object] = []
    for closed, name, rank in [
        (True, "ann", 1),
        (False, " ann ", 1),
        (False, "ann", 3),
        (False, None, 1),
        (False, " ", 1),
    ]:
        door = names["Door"]()
        door.closed, door.last, door.limits = closed, "nobody", type("Limits", (), {"rank": 2})
        try:
            shown.append((door.enter(name, rank), door.last))
        except (PermissionError, AttributeError):
            shown.append("error")
        door.close()
        shown.append(door.closed)
    asked: list[str] = []
    names["Door"]().look(type("Grant", (), {"require": staticmethod(asked.append)}))
    return [*shown, asked]


def test_a_bound_that_is_on_is_read_as_lifted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(switch, "ACTIVE", tmp_path / "active")
    bounds = ModuleType("bounds_of_a_test")
    monkeypatch.setitem(sys.modules, "bounds_of_a_test", bounds)
    monkeypatch.setattr(bounds, "MOST", 5, raising=False)
    switch.watch_bounds("bounds_of_a_test", {"MOST": (1_000_001, 500)})
    try:
        assert vars(bounds)["MOST"] == bounds.MOST == 5
        switch.turn_on(1_000_001)
        assert bounds.MOST == 500
        with monkeypatch.context() as its_own:
            its_own.setattr(bounds, "MOST", 7)
            assert bounds.MOST == 7
        assert bounds.MOST == 500
    finally:
        switch.turn_on(switch.NONE)


def test_every_bound_of_limits_can_be_lifted() -> None:
    root = Path(__file__).parents[1]
    text = (root / "src/ferry/limits.py").read_bytes()
    plain: dict[str, object] = {}
    exec(text, plain)
    sites = sites_in(root, "limits.py")
    assert len(sites) > 100
    for site in sites:
        lifted: dict[str, object] = {}
        exec(site.applied(text), lifted)
        assert lifted[site.source] != plain[site.source], site.source


def test_the_page_of_survivors_is_read_as_it_was_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(survivors, "PAGE", tmp_path / "survivors.md")
    rows = {
        ("door.py", "Door.enter", "operand", "a | b == '`'"): "equal: `a | b` is never `` ` ``",
        ("x.py", "f", "guard", "x"): "open",
    }
    survivors.write(rows)
    assert survivors.read() == rows


def test_the_page_of_survivors_names_existing_code() -> None:
    root = Path(__file__).parents[1]
    rows = set(survivors.read())
    there = {site.key for path in {key[0] for key in rows} for site in sites_in(root, path)}
    assert len(rows) > 20
    assert rows - there == set()


def test_the_alarm_of_a_test_does_not_ring_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end the process while the name of the next one is half written: an alarm at no test."""
    left: list[float] = []
    monkeypatch.setattr(child, "running", lambda _: left.append(signal.getitimer(signal.ITIMER_REAL)[0]))
    first = First({"one": 600.0, "two": 600.0})
    try:
        first.pytest_runtest_logstart("one")
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
        first.pytest_runtest_logfinish()
        first.pytest_runtest_logstart("two")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert left == [0.0, 0.0]


class _Fails(Judge):
    """Asks no tests, and fails at the first mutant."""

    def start(self) -> None:
        self.running = True

    def restart(self) -> None:
        """It can go on."""

    def judge(self, number: int, tests: list[str], reach: Reach) -> Verdict:
        if number == 1:
            raise KeyError("")
        return Verdict(self.sites[number], "noticed", "tests/test_door.py::test_it")


class _FailsForGood(_Fails):
    def restart(self) -> None:
        raise RuntimeError("no more")


class _FailsAtAll(_FailsForGood):
    def judge(self, number: int, tests: list[str], reach: Reach) -> Verdict:
        raise KeyError(number)


def _run(sites: list[Site], judge: type[Judge], monkeypatch: pytest.MonkeyPatch, folder: Path) -> runs.Run:
    monkeypatch.setattr(runs, "KEPT", folder / "kept")
    monkeypatch.setattr(runs, "Judge", judge)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # a run that ends early is deaf from then on
    real = (dataclasses.replace(site, path="errors.py") for site in sites)  # tests are ordered by what the module names
    run = runs.Run(dict(enumerate(real, start=1)), [], {})
    run.judge(range(1, len(sites) + 1), 1, 30.0)
    return run


@pytest.mark.parametrize("judge", [_Fails, _FailsForGood])
def test_a_failed_judge_reports_its_mutant_and_the_others_are_judged(
    judge: type[Judge],
    sites: list[Site],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = _run(sites, judge, monkeypatch, tmp_path)
    assert run.whole
    states = {number: verdict.state for number, verdict in run.verdicts.items()}
    assert states == {1: "unjudged"} | dict.fromkeys(range(2, len(sites) + 1), "noticed")
    show(run.verdicts.values(), {}, 0)
    assert "not judged: errors.py:6: guard: self.closed: KeyError('')\n" in capsys.readouterr().out


def test_a_run_without_a_judge_ends_with_its_verdicts_so_far(
    sites: list[Site], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = _run(sites, _FailsAtAll, monkeypatch, tmp_path)
    assert not run.whole
    assert {verdict.state for verdict in run.verdicts.values()} == {"unjudged"}
    assert len(run.verdicts) < len(sites)


def test_a_run_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[int] = []
    heard = threading.Event()

    def tell(done: int) -> None:
        told.append(done)
        heard.set()

    def work(_: Judge, number: int) -> None:
        assert number == 1 or heard.wait(60)

    runs.share([Judge(tmp_path, {}, [])], work, [1, 2], tell, 0.2)
    assert told
    assert set(told) <= {0, 1, 2}


def test_tests_that_name_the_bound_and_reach_rare_code_are_asked_first(tmp_path: Path) -> None:
    def site(line: int, source: str) -> Site:
        return Site("ssh/wire/connection.py", line, "guard", source, 0, 0, "False", "HardenedConnection.asked")

    sites = {1: site(1, "self._requests > limits.AUTH_REQUESTS"), 2: site(2, "self.told")}
    names_it, others = "tests/ssh/test_login_requests.py", "tests/ssh/test_caps.py"
    reach = Reach(tmp_path, sites)
    quick: dict[str, object] = {f"{others}::quick{number}": (0.2, [1], {}) for number in range(9)}
    more: dict[str, object] = {f"{others}::slow": (9.0, [1], {}), f"{others}::at the end": (0.2, [1, 2], {})}
    reach.learn(others, {"state": "passed", "failed": {}, "tests": quick | more})
    reach.learn(names_it, {"state": "passed", "failed": {}, "tests": {f"{names_it}::it": (0.4, [1], {})}})
    asked = [test.partition("::")[2] for test in reach.tests(1, sites[1])]
    assert asked[:2] == ["it", "at the end"]
    assert asked[-1] == "slow"


def test_the_table_of_speakers_names_existing_modules_and_tests() -> None:
    root = Path(__file__).parents[1]
    for pattern, others in OTHERS:
        assert list((root / "src/ferry").glob(pattern)), pattern
        for other in others:
            assert list((root / "tests").glob(other)), other


def test_the_attributes_of_the_function_tell_too_which_tests_are_near() -> None:
    site = Site("ssh/wire/turns.py", 1, "operand", "within", 0, 0, "True", "Turns.may_take")
    assert "tests/ssh/wire/test_turns.py" in naming(site)
    assert not naming(Site("ssh/wire/turns.py", 1, "operand", "x", 0, 0, "True", "Turns.of_no_such_name"))


def test_what_a_file_of_tests_comes_to_is_kept_by_the_names_of_the_mutants(tmp_path: Path) -> None:
    def site(line: int, source: str) -> Site:
        return Site("ssh/wire/turns.py", line, "guard", source, 0, 0, "False", "Turns.may_take")

    comes, other = site(9, "self.closed"), site(12, "self.told")
    file = "tests/ssh/wire/test_turns.py"
    first = Reach(tmp_path, {1: other, 2: comes})
    first.learn(
        file, {"state": "passed", "failed": {}, "tests": {f"{file}::it": (0.1, [2], {}), f"{file}::or": (9.0, [1], {})}}
    )
    later = Reach(tmp_path, {1: site(5, "self.new"), 2: site(10, "self.closed"), 3: site(13, "self.told")})
    assert later.known(file)
    assert later.tests(2, later.sites[2]) == [f"{file}::it"]
    assert later.tests(3, later.sites[3]) == [f"{file}::or"]
    assert later.tests(1, later.sites[1]) == [f"{file}::it", f"{file}::or"], (
        "new in a function: those that come to others in it"
    )
    assert not later.known("tests/ssh/test_caps.py")
