"""Drives one copy of the clone: learns what its tests come to, and asks them about mutants."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .reach import Reach
from .sites import Site
from .switch import NONE
from .tree import Numbered, make_tree

_FILE_SECONDS = 600.0  # for one file of tests, without a mutant
_LEAST_SECONDS = 30.0  # for the tests of one mutant: most of them wait 20 s for what does not come
_WAITED_SECONDS = 10.0  # a test that fails as late as this has waited in vain: it need not fail twice
_SLOWER = 4  # times as long as without a mutant
_LATE_SECONDS = 2.0  # more than that, and a test has to wait until the others are asked
_MOST_LATE = 3  # tests that wait
_IMPORT_SECONDS = 20.0  # for tests to be collected


@dataclass
class Verdict:
    """What the tests made of one mutant."""

    site: Site
    state: str
    """`noticed`, `survived`, `time` (they did not end) or `unjudged` (asking them failed)."""
    by: str = ""
    """The test, or why there is none."""


@dataclass
class Judge:
    """A copy with all mutants in it, and its processes that run tests, each started when it is needed."""

    tree: Path
    sites: Numbered
    files: Sequence[str]
    """Of tests, below the root of the clone."""
    early: frozenset[int] = frozenset()
    """Mutants that act while these files are imported: a process that has imported them is too late for those."""
    broken: list[str] = field(default_factory=list)
    """Files that cannot be collected."""
    running: bool = False
    """It has processes to ask."""
    stopped: bool = False
    _processes: list[subprocess.Popen[str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        make_tree(self.tree, self.sites)
        self._begin()

    def restart(self) -> None:
        """With other processes, after it failed: one may have ended, or be at something else."""
        self.running = False
        self._end()
        self._begin()

    def stop(self) -> None:
        with self._lock:
            self.stopped = True
        self._end()

    def _begin(self) -> None:
        with self._lock:
            if self.stopped:
                raise RuntimeError(f"the judge of {self.tree} was stopped")
            self._processes = [self._process(*self.files), self._process()]
        collected = self._answer(self._processes[0])
        self.early, self.broken = frozenset(collected["early"]), collected["broken"]
        self.running = True

    def _end(self) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()

    def learn(self, file: str) -> dict[str, Any]:
        """What each test of a file comes to."""
        return self._ask(self._processes[0], file=file, seconds=_FILE_SECONDS)

    def judge(self, number: int, tests: list[str], reach: Reach) -> Verdict:
        """Ask the tests until one proves that it notices. A test that takes much longer than usual has to wait: most
        often another one fails sooner."""
        site = self.sites[number]
        late: list[str] = []
        while tests or late:
            patient = bool(late) and (not tests or len(late) >= _MOST_LATE)
            asked = [late.pop(0)] if patient else tests
            answer = self._try(number, number, asked, reach, patient=patient)
            if answer["state"] == "time":
                return Verdict(site, "time", answer["test"])
            if answer["state"] == "late":
                late.append(answer["test"])
            elif answer["state"] != "passed" and self._proven(number, answer, asked, reach):
                return Verdict(site, "noticed", answer["test"])
            if not patient:
                tests = tests[tests.index(answer["test"]) + 1 :] if answer.get("test") in tests else []
        return Verdict(site, "survived")

    def _proven(self, number: int, answer: dict[str, Any], asked: list[str], reach: Reach) -> bool:
        """A test that fails by chance proves nothing: it has to pass without the mutant, and to fail again with it."""
        again = [answer["test"]] if answer["test"] in asked else asked
        if self._try(number, NONE, again, reach, patient=True)["state"] != "passed":
            return False
        if answer.get("seconds", 0.0) >= _WAITED_SECONDS:
            return True
        return bool(self._try(number, number, again, reach, patient=True)["state"] != "passed")

    def _try(self, number: int, on: int, tests: list[str], reach: Reach, *, patient: bool) -> dict[str, Any]:
        early = number in self.early
        limit = _LEAST_SECONDS + _SLOWER * reach.duration(tests) + early * _IMPORT_SECONDS
        patience = {} if patient else {test: _LATE_SECONDS + _SLOWER * reach.seconds[test] for test in tests}
        return self._ask(self._processes[int(early)], number=on, tests=tests, seconds=limit, patience=patience)

    def _process(self, *files: str) -> subprocess.Popen[str]:
        command = [str(self.tree / ".venv/bin/python"), "-m", "mutants.worker", *files]
        return subprocess.Popen(command, cwd=self.tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _ask(self, process: subprocess.Popen[str], **what: object) -> dict[str, Any]:
        assert process.stdin is not None
        process.stdin.write(json.dumps(what) + "\n")
        process.stdin.flush()
        return self._answer(process)

    def _answer(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process that runs tests in {self.tree} ended: see .venv/output there")
        answer: dict[str, Any] = json.loads(line)
        return answer
