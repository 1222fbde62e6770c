"""Runs tests in a copy with a mutant on, in a child each time: told what by lines of JSON, and answers each with one.

With files as arguments it has collected their tests once, and no test has run where a child begins. Without, nothing of
the copy is imported where a child begins: for mutants that act while modules are imported.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Final, TextIO

import pytest

from . import child, switch
from .plugins import Chosen, First, Notes

_HEAVY: Final = (
    "alembic.command",
    "asyncssh",
    "fastapi",
    "httptools",
    "hypothesis",
    "paramiko",
    "prometheus_client",
    "pydantic",
    "pytest_asyncio.plugin",
    "pytest_timeout",
    "rich",
    "sqlalchemy.dialects.sqlite",
    "typer",
    "uvicorn",
    "uvloop",
)
_OPTIONS = ["-p", "no:xdist", f"--basetemp={child.TEMPORARY}/p"]
_IMPORTED_ALREADY = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]


class _Stage:
    """A session of pytest that has collected its tests, and runs those that are asked for in forks of it."""

    def __init__(self, questions: TextIO, answers: TextIO) -> None:
        self._questions = questions
        self._answers = answers
        self._broken: list[str] = []
        self._items: dict[str, pytest.Item] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._broken.append(report.nodeid)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = {item.nodeid: item for item in session.items}
        gc.collect()
        gc.freeze()  # a fork would copy what it looks at
        self._say({"early": sorted(switch.seen()), "broken": self._broken})
        for line in self._questions:
            asked = json.loads(line)
            self._say(self._learned(**asked) if "file" in asked else self._judged(**asked))
        return True

    def _say(self, answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=self._answers, flush=True)

    def _learned(self, file: str, seconds: float) -> dict[str, Any]:
        """What each test of a file comes to. A test that fails is asked once more, by itself."""
        answer = self._noted([test for test in self._items if test.startswith(f"{file}::")], seconds)
        for test in list(answer.get("failed", ())):
            again = self._noted([test], seconds)
            if again["state"] == "passed" and not again["failed"]:
                del answer["failed"][test]
                answer["tests"] |= again["tests"]
        return answer

    def _noted(self, tests: list[str], seconds: float) -> dict[str, Any]:
        def run() -> dict[str, Any]:
            switch.note()
            notes = Notes()
            self._run(tests, notes)
            return notes.answer()

        switch.turn_on(switch.NONE)
        answer = child.answer_of(run, seconds)
        switch.HITS.unlink(missing_ok=True)
        return answer

    def _judged(self, number: int, tests: list[str], seconds: float, patience: dict[str, float]) -> dict[str, Any]:
        def run() -> dict[str, Any]:
            switch.turn_on(number)
            first = First(patience)
            self._run(tests, first)
            return first.answer()

        return child.answer_of(run, seconds)

    def _run(self, tests: list[str], plugin: First | Notes) -> None:
        items = [self._items[test] for test in tests]
        for item, following in zip(items, [*items[1:], None], strict=True):
            if not item.config.pluginmanager.is_registered(plugin):
                item.config.pluginmanager.register(plugin)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if isinstance(plugin, First) and plugin.failed:
                break


def _judged_afresh(number: int, tests: list[str], seconds: float, patience: dict[str, float]) -> dict[str, Any]:
    files = list(dict.fromkeys(test.split("::")[0] for test in tests))

    def run() -> dict[str, Any]:
        switch.turn_on(number)
        first = First(patience)
        code = pytest.main(["-x", *_OPTIONS, *_IMPORTED_ALREADY, *files], plugins=[first, Chosen(tests)])
        if not first.failed and code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            first.failed = "pytest itself"
        return first.answer()

    return child.answer_of(run, seconds)


def main() -> None:
    """Questions and answers come and go where standard input and output were; what tests print goes to a file."""
    questions, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open() as nothing, child.OUTPUT.open("a") as output:
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    child.adopt()
    os.environ["TMPDIR"] = str(child.TEMPORARY)
    os.chdir(Path(sys.prefix).parent)
    switch.turn_on(switch.NONE)
    if sys.argv[1:]:
        pytest.main([*_OPTIONS, "--continue-on-collection-errors", *sys.argv[1:]], plugins=[_Stage(questions, answers)])
        return
    for name in _HEAVY:
        importlib.import_module(name)
    for line in questions:
        print(json.dumps(_judged_afresh(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
