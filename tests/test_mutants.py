"""`make mutants` finds what protects, and what it makes of it is Python whose condition no longer bites."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from mutants import survivors, switch
from mutants.instrument import instrumented
from mutants.sites import Site, sites_in

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
def test_a_module_with_all_mutants_is_the_one_that_is_on(
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
        assert vars(bounds)["MOST"] == getattr(bounds, "MOST") == 5  # noqa: B009
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
