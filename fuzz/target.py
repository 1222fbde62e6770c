"""What a target is, and its corpus: values that once failed, by name, and values that reach every line so far."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

CORPUS = Path(__file__).with_name("corpus")
VALUE_CHARS = 20_000  # of a value in the corpus, written out
Value = Any
"""Bytes, text, numbers, tuples, lists and dictionaries: what a file can hold as a Python literal."""
Strategy = st.SearchStrategy[Value]


@dataclass(frozen=True)
class Case:
    """A value that failed once: `name` is the file's, `why` its first line."""

    name: str
    why: str
    value: Value


@dataclass(frozen=True)
class Target:
    """One thing that is fuzzed. `check` raises AssertionError, or anything else, where a value shows a fault."""

    name: str
    values: Strategy
    check: Callable[[Value], None]
    modules: tuple[str, ...]
    """What the values are for: a value that takes a new way through one of these files belongs into the corpus."""
    in_tests: int = 150
    """How many values `make test` draws."""


def cases(target: str) -> list[Case]:
    """The named cases of a target: `corpus/TARGET/NAME.txt`, with `# why` above the value."""
    found = []
    for path in sorted((CORPUS / target).glob("*.txt")):
        first, _, rest = path.read_text("utf-8").partition("\n")
        found.append(Case(path.stem, first.removeprefix("# "), ast.literal_eval(rest)))
    return found


def reached(target: str) -> list[Value]:
    """Values that have no name: each took a way through the code that none above it took."""
    path = CORPUS / f"{target}.txt"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [ast.literal_eval(line) for line in lines]


def keep(target: str, value: Value) -> bool:
    """Write `value` below those that `reached` gives. False if it is too long to be read by anybody."""
    line = repr(value)
    if len(line) > VALUE_CHARS:
        return False
    with (CORPUS / f"{target}.txt").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    return True


def name_case(target: str, why: str, value: Value) -> Path:
    """Write a value that failed as a named case; people give it a better name and reason."""
    folder = CORPUS / target
    folder.mkdir(exist_ok=True)
    number = 1
    while (path := folder / f"found-{number}.txt").exists():
        number += 1
    path.write_text(f"# {' '.join(why.split())[:300]}\n{value!r}\n", "utf-8")
    return path


def grown(target: str, drawn: Strategy, pieces: st.SearchStrategy[Any], head: int = 0) -> Strategy:
    """`drawn`, or a value of the corpus with some `pieces` (of the same type) put in or taken out behind its `head`."""
    seeds: list[Sequence[Any]] = [*reached(target), *(case.value for case in cases(target))]
    if not seeds:
        return drawn

    @st.composite
    def changed(draw: st.DrawFn) -> Value:
        value: Any = draw(st.sampled_from(seeds))
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(head, len(value)))
            value = value[:at] + draw(pieces) + value[at + draw(st.sampled_from([0, 0, 1, 1, 2, 5, 30])) :]
        return value

    return st.one_of(drawn, changed())
