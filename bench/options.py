"""What can be said on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .rows import ROWS, Row
from .setting import QUICK, Effort
from .systems import Ferry, System, all_systems, two_checkouts

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Options:
    """A run, as asked for."""

    rows: tuple[Row, ...]
    systems: tuple[System, ...]
    rounds: int
    effort: Effort
    quick: bool
    out: Path | None
    """Where results go, without suffix; None: printed only."""
    against: Path | None = None
    """Another checkout, which this one is compared with."""

    @property
    def whole(self) -> bool:
        """Whether the figures are fit to be kept."""
        return (
            not self.quick
            and not self.against
            and len(self.rows) == len(ROWS)
            and len(self.systems) == len(all_systems())
        )


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; ends the program with a usage text where it makes no sense."""
    systems = {_word(system): system for system in all_systems()}
    rows = {row.name: row for row in ROWS}
    parser = argparse.ArgumentParser(
        prog="make bench, or scripts/bench",
        description="Compare Ferry with other systems, in interleaved rounds on this machine. FERRY_BENCH_PEERS names the folder with their programs.",
        epilog="A whole run is written to bench/results/; a quick or partial one is printed only, unless --out is given.",
    )
    parser.add_argument("--quick", action="store_true", help="short and small, one round: to see that all works")
    parser.add_argument(
        "--rounds", type=int, help=f"how often everything is measured (default {ROUNDS}; 1 with --quick)"
    )
    parser.add_argument(
        "--only", metavar="ROW,…", help=f"measure these alone (slow: all that begin with slow-): {', '.join(rows)}"
    )
    parser.add_argument("--systems", metavar="NAME,…", help=f"these alone: {', '.join(systems)}")
    parser.add_argument("--out", type=Path, help="write the results to OUT.md and OUT.json")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="compare this checkout with another one, which has been set up, instead of other systems: every measure in turn, and the ratios of each round",
    )
    parser.add_argument(
        "--control",
        type=Path,
        metavar="DIR",
        help="with --against: compare that checkout with DIR too, in the same rounds. With the same code in both, the ratios show how far a change would have to go to be seen",
    )
    given = parser.parse_args(arguments)
    if given.control and not given.against:
        parser.error("--control goes with --against DIR, which it is compared with")
    if given.against:
        systems = {_word(system): system for system in two_checkouts(given.against, given.control)}
        if missing := [system.missing for system in systems.values() if system.missing]:
            parser.error(missing[0])
    if given.rounds is not None and not 1 <= given.rounds <= 20:
        parser.error("--rounds is 1 to 20")

    def chosen(what: str, text: str | None, known: Sequence[str]) -> list[str]:
        words = [word for word in (text or "").split(",") if word] or list(known)
        if unknown := [word for word in words if not any(_names(word, name) for name in known)]:
            parser.error(f"--{what}: there is no {unknown[0]!r}; there are {', '.join(known)}")
        return [name for name in known if any(_names(word, name) for word in words)]

    asked = chosen("only", given.only, list(rows))

    return Options(
        rows=tuple(rows[name] for name in asked if rows[name].quick or not given.quick or given.only),
        systems=tuple(systems[name] for name in chosen("systems", given.systems, list(systems))),
        rounds=given.rounds or (1 if given.quick else ROUNDS),
        effort=QUICK if given.quick else Effort(),
        quick=given.quick,
        out=given.out,
        against=given.against,
    )


def _names(word: str, name: str) -> bool:
    """Whether `word` means `name`: itself, or `slow` for all whose names begin with `slow-`."""
    return name == word or name.startswith(f"{word}-")


def _word(system: System) -> str:
    """`Ferry, TCP port` as one word; `ferry-before` and `ferry-control` for other checkouts'."""
    word = type(system).__name__.lower()
    if not isinstance(system, Ferry) or not system.checkout:
        return word
    return f"{word}-control" if system.control else f"{word}-before"
