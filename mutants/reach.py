"""Which tests come to a mutant, and in which order they are asked: those that most likely notice it for their seconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from .sites import Site
from .speakers import is_own, tests_of, tests_of_bound
from .tree import ROOT, Numbered
from .words import naming, unnamed

_HOW = ("mutants/sites.py", "mutants/plugins.py")
"""How it is found out: when these change, all is asked again."""

_FAR = 4
"""The rank of tests that do not speak for the module: see `speakers_of`."""
_RANK_COSTS = 4.0
"""A rank further off, and a test must be so many times as quick to be asked first."""
_STARTING_SECONDS = 0.02
"""Added to those of each test, so that a millisecond more or less does not decide who is first."""


_Row = tuple[float, list[int], dict[str, float]]
"""Of a test: its seconds, the mutants to which it comes, and the seconds of each fixture that it shares."""


@dataclass
class Reach:
    """What the tests of some files come to, as they are without a mutant."""

    kept: Path
    """A folder: a second run need not ask again."""
    sites: Numbered
    early: frozenset[int] = frozenset()
    """Numbers of mutants that act while modules are imported."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of each test that passes, by itself."""
    _shared: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of each test the fixtures that it shares with others, each with its seconds."""
    failed: dict[str, str] = field(default_factory=dict)
    """Tests that fail without a mutant, and why: they say nothing."""
    _comers: dict[int, list[str]] = field(default_factory=dict)
    _places: dict[str, frozenset[int]] = field(default_factory=dict)
    """The mutants to which each test comes."""
    _functions: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    _numbers: dict[str, list[int]] = field(default_factory=dict)
    """Of the mutants of each name: what is kept outlives their numbers."""

    def __post_init__(self) -> None:
        for number, site in self.sites.items():
            self._functions.setdefault((site.path, site.where), set()).add(number)
            self._numbers.setdefault(_name(site), []).append(number)

    def known(self, file: str) -> bool:
        """Take what was kept of a file of tests.

        It holds as long as the file does: where the code has changed meanwhile, a test that comes to a mutant may be
        missed, and the mutant survives. None counts as noticed by it, for that is proven each time.
        """
        kept = self._kept(file)
        if not kept.exists():
            return False
        rows = json.loads(kept.read_text())
        places = [self._numbers.get(name, []) for name in rows["places"]]
        self._take(
            {
                test: (seconds, [number for place in come for number in places[place]], shared)
                for test, (seconds, come, shared) in rows["tests"].items()
            }
        )
        return True

    def learn(self, file: str, answer: Mapping[str, Any]) -> None:
        """Take what a worker found out about a file of tests, and keep it unless something failed."""
        if answer["state"] != "passed":
            self.failed[file] = f"{answer['state']}, at {answer['test']}"
            return
        self.failed |= answer["failed"]
        if not answer["failed"]:
            self._keep(file, answer["tests"])
        self._take({test: row for test, row in answer["tests"].items() if test not in answer["failed"]})

    def _take(self, tests: Mapping[str, _Row]) -> None:
        for test, (seconds, places, shared) in tests.items():
            self.seconds[test] = seconds + sum(shared.values())
            self._shared[test] = shared
            self._places[test] = frozenset(places)
            for number in places:
                self._comers.setdefault(number, []).append(test)

    def _keep(self, file: str, tests: Mapping[str, _Row]) -> None:
        places: dict[str, int] = {}
        rows = {
            test: (seconds, [places.setdefault(_name(self.sites[number]), len(places)) for number in come], shared)
            for test, (seconds, come, shared) in tests.items()
        }
        self._kept(file).write_text(json.dumps({"places": list(places), "tests": rows}))

    def _kept(self, file: str) -> Path:
        return self.kept / f"{_digest([_how_digest(), file, (ROOT / file).read_text()])}.json"

    def tests(self, number: int, site: Site) -> list[str]:
        """All that may notice the mutant, in the order in which they are asked: by their seconds, and so many times as
        long the further a test's file is from the module, the more files name the words of the mutant that it names (or
        none), the more tests come wherever in this function it comes, and the more it comes to at all.

        What an import has come to counts for the tests that speak for the module, whether or not they come there again.
        To a mutant to which none comes, as far as is known, those may come that come to others in its function.
        """
        speakers, named, around = speakers_of(site), naming(site), self._functions[site.path, site.where]
        comers = set(self._comers.get(number, ()))
        if not comers:
            comers = {test for place in around for test in self._comers.get(place, ())}
        if number in self.early:
            comers |= {test for test in self.seconds if test.split("::")[0] in speakers}

        def price(test: str) -> tuple[float, str]:
            file, places = test.partition("::")[0], self._places[test]
            rarest = min((len(self._comers[place]) for place in around & places), default=len(self.seconds))
            far = _RANK_COSTS ** speakers.get(file, _FAR)
            telling = named.get(file, unnamed()) ** 0.5 * (rarest * (len(places) + 1)) ** 0.25
            return (self.seconds[test] + _STARTING_SECONDS) * far * telling, test

        return sorted(comers, key=price)

    def duration(self, tests: Iterable[str]) -> float:
        """The seconds that all of them take without a mutant."""
        return max(self._ends(tests), default=0.0)

    def up_to(self, tests: Sequence[str], seconds: float) -> int:
        """How many of them are done in so many seconds; at least one if there is any time."""
        return sum(1 for number, end in enumerate(self._ends(tests)) if end <= seconds or (seconds and not number))

    def _ends(self, tests: Iterable[str]) -> Generator[float]:
        """When each is done: what they share is prepared once."""
        end, prepared = 0.0, set[str]()
        for test in tests:
            shared = self._shared[test]
            end += self.seconds[test] - sum(shared[fixture] for fixture in shared if fixture in prepared)
            prepared.update(shared)
            yield end


def speakers_of(site: Site) -> dict[str, int]:
    """Files of tests that speak for a mutant, the nearest first: 0 for its module's own, or where its bound is named."""
    if site.path != "limits.py":
        return _speakers_of_module(site.path)
    return {file: 2 * (site.source not in _text(file)) for file in _speakers_of_bound(site.source)}


@cache
def _speakers_of_module(path: str) -> dict[str, int]:
    def rank(file: str) -> int:
        if Path(file).name.startswith(f"test_{Path(path).stem}"):
            return 0
        if Path(file).parent == Path("tests", path).parent:
            return 1
        return 2 if is_own(path, f"{file}::") else 3

    return {file: rank(file) for file in tests_of(ROOT, path)}


@cache
def _speakers_of_bound(name: str) -> list[str]:
    return tests_of_bound(ROOT, name)


@cache
def _text(file: str) -> str:
    return (ROOT / file).read_text()


@cache
def _how_digest() -> str:
    return _digest((ROOT / file).read_text() for file in _HOW)


def _name(site: Site) -> str:
    return "\0".join(site.key)


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
