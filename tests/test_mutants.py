"""`make mutants` finds what protects, and what it makes of it is Python whose condition no longer bites."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutants import survivors
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
