"""Says which mutant is on. The instrumented modules of a copy ask it, in every process that runs them."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

NONE = 0
_TREE = Path(sys.prefix)
ACTIVE = _TREE / "active"
"""The number of the mutant that a process has on from its start."""
HITS = _TREE / "hits"
"""While this file is there, every process marks each place that it comes to: the byte of its number. It is mapped, for
a process that may write no file marks too."""
_MOST_PLACES = 1 << 16


def _mapped() -> mmap.mmap:
    with HITS.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


class _State:
    active = int(ACTIVE.read_text()) if ACTIVE.exists() else NONE
    noting: mmap.mmap | None = _mapped() if HITS.exists() else None


_seen: set[int] = set()
_bounds: dict[str, tuple[int, object, object]] = {}


def off(number: int) -> bool:
    """The code that asks is to be as it is written."""
    if number not in _seen:
        _seen.add(number)
        if _State.noting is not None:
            _State.noting[number] = 1
    return number != _State.active


def seen() -> set[int]:
    """The places that this process came to, and those before it that it was forked from."""
    return _seen


def turn_on(number: int) -> None:
    """In this process, and in those that it starts."""
    written = ACTIVE.with_suffix(".part")
    written.write_text(str(number))
    written.replace(ACTIVE)  # whole: another process may start now
    _State.active = number


def note() -> None:
    """Mark each place to which this process or one that it starts comes from now on."""
    HITS.write_bytes(bytes(_MOST_PLACES))
    _State.noting = _mapped()
    forget()


def forget() -> None:
    """Begin anew. Another process marks each place once."""
    assert _State.noting is not None
    _State.noting[:] = bytes(_MOST_PLACES)
    _seen.clear()


def marked() -> set[int]:
    """The places that were marked since then."""
    assert _State.noting is not None
    return {number for number, mark in enumerate(_State.noting[:]) if mark}


class Bounds(ModuleType):
    """`ferry.limits`: to read a bound is to come to it, and one that is on is read as lifted."""

    def __getattribute__(self, name: str) -> object:
        value: object = super().__getattribute__(name)
        if name not in _bounds:
            return value
        number, plain, lifted = _bounds[name]
        return value if off(number) or value != plain else lifted  # a test may have put its own value there


def watch_bounds(module: str, lifted: Mapping[str, tuple[int, object]]) -> None:
    """From now on each of these bounds of a module can be on, under its number."""
    for name, (number, value) in lifted.items():
        _bounds[name] = number, vars(sys.modules[module])[name], value
    sys.modules[module].__class__ = Bounds
