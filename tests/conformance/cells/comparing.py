"""Finds the cells that end otherwise at Ferry than at sshd, and not as a wanted difference says."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .differences import expected
from .drawing import Cell
from .servers import Tried, tried

_ROUNDS: Final = 12


@dataclass(slots=True)
class Compared:
    """What a run has found."""

    all: list[Tried]
    differ: list[Tried] = field(default_factory=list)
    wanted: Counter[str] = field(default_factory=Counter)
    """Of the wanted differences by name the cells in which they count."""


def compared(cells: Sequence[Cell], folder: Path) -> Compared:
    """Try all cells, with servers in `folder`."""
    found = Compared(tried(cells, folder))
    for each in found.all:
        ours, names = expected(each.cell, each.real)
        found.wanted.update(names)
        if each.ours != ours:
            found.differ.append(each)
    return found


def smallest(differ: Sequence[Tried]) -> Tried:
    """Take parts out of the smallest cell that differs, as long as it does."""
    found = min(differ, key=lambda each: each.cell.size)
    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            smaller = compared(list(found.cell.smaller()), Path(folder)).differ
        if not smaller:
            break
        found = min(smaller, key=lambda each: each.cell.size)
    return found


def told(each: Tried) -> str:
    """A cell that differs, for people."""
    ours, names = expected(each.cell, each.real)
    because = f" ({', '.join(names)})" if names else ""
    return f"{each.cell}\n  sshd:     {each.real}\n  expected: {ours}{because}\n  Ferry:    {each.ours}"
