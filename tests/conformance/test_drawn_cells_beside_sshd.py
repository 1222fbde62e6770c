"""Settings × options of keys × bind forms × -R, -L, -D and -W, drawn at random: each cell ends alike at this machine's sshd and
at Ferry, but for the wanted differences. `make conformance` draws other ones each time."""

from __future__ import annotations

from pathlib import Path

from conformance.cells.asking import CAME
from conformance.cells.comparing import compared, told
from conformance.cells.differences import WANTED
from conformance.cells.drawing import draw

SEED, COUNT = 1, 64
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "differences-from-sshd.md"


def test_drawn_cells_end_alike(tmp_path: Path) -> None:
    found = compared(draw(SEED, COUNT), tmp_path)
    assert not found.differ, "\n\n".join(told(each) for each in found.differ)
    assert len(found.wanted) >= 3
    real = [each.real for each in found.all]
    assert sum(not each.logs_in for each in real) >= 2
    assert sum(CAME in each.got.values() for each in real) >= 10
    assert sum(None in each.bound.values() for each in real) >= 5
    assert sum("administratively prohibited" in each.failures.values() for each in real) >= 3
    assert len({addresses for each in real for addresses in each.bound.values() if addresses}) >= 4


def test_each_wanted_difference_has_its_row() -> None:
    rows = [line.split(" | ")[0].removeprefix("| ") for line in PAGE.read_text("utf-8").splitlines()]
    assert [each.row for each in WANTED if each.row not in rows] == []


def test_a_cell_gets_smaller_until_nothing_is_left() -> None:
    for cell in draw(SEED, COUNT):
        assert all(smaller.size < cell.size for smaller in cell.smaller())
        least = cell
        while smaller := next(least.smaller(), None):
            least = smaller
        assert least.size == 1
        assert str(least).startswith("settings: (none)\nkey: (no options)\nssh ")
