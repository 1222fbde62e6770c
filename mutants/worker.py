"""Runs tests in the copy, in a fresh child each time: told what by lines of JSON, and answers each with one.

The packages of others are imported here once, so that a child begins with the tests.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import pytest

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
_ALWAYS = ("-p", "no:xdist", "-W", "ignore::pytest.PytestAssertRewriteWarning")  # plugins are imported already
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2): what tests leave behind becomes our child, and is ended here
_GRACE_SECONDS = 5.0  # for fixtures to clean up after a time limit
TREE = Path(sys.prefix).parent
_ANSWER = TREE / ".answer"


class _First:
    """Keeps the tests that were chosen, in that order, and remembers the first that fails."""

    def __init__(self, chosen: list[str]) -> None:
        self.chosen = {test: number for number, test in enumerate(chosen)}
        self.failed: str | None = None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        there = {item.nodeid for item in items}
        # A bound may be part of a test's name, which is another one once it is lifted: every case of that test is asked.
        renamed = {_function(test): number for test, number in self.chosen.items() if test not in there}
        ranks = renamed | self.chosen
        ranked = [
            (ranks[name], item) for item in items for name in (item.nodeid, _function(item.nodeid)) if name in ranks
        ]
        items[:] = dict.fromkeys(item for _, item in sorted(ranked, key=lambda one: one[0]))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid


def _function(test: str) -> str:
    """A test's name without its parameters."""
    return test.partition("[")[0]


class _Lines:
    """Notes for each test its seconds, whether it passed, and the lines that ran in this process and in its children.

    A child writes each line once. What the gateway that tests share has run counts for all tests that use it.
    """

    def __init__(self, switch: Path) -> None:
        self.tests: dict[str, tuple[float, list[str], list[str]]] = {}
        self.failed: set[str] = set()
        self._switch = switch
        self._seen: set[str] = set()
        self._of_shared: set[str] = set()
        self._sharing: set[str] = set()

    def start(self) -> None:
        importlib.import_module("ferry_lines").watch(self._seen)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._seen.clear()
        written = self._switch.stat().st_size
        began = time.monotonic()
        result = yield
        seconds = time.monotonic() - began
        fresh = set(self._switch.read_bytes()[written:].decode().split())
        if "gateway" in getattr(item, "fixturenames", ()):
            self._sharing.add(item.nodeid)
            self._of_shared |= fresh
        self.tests[item.nodeid] = (seconds, sorted(self._seen), sorted(fresh))
        return result

    def all(self) -> dict[str, tuple[float, list[str], list[str]]]:
        shared = sorted(self._of_shared)
        return {
            test: (seconds, near, shared if test in self._sharing else far)
            for test, (seconds, near, far) in self.tests.items()
        }

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)


def lines_of(file: str, seconds: float) -> dict[str, Any]:
    """Run one file of tests and say what each test reaches, here and in other processes."""
    switch = TREE / ".lines"
    switch.write_text("")

    def run() -> dict[str, Any]:
        notes = _Lines(switch)
        notes.start()
        pytest.main([*_ALWAYS, f"--basetemp={TREE}/t", file], plugins=[notes])
        return {"tests": notes.all(), "failed": sorted(notes.failed)}

    answer = _in_child(run, seconds) or {"tests": {}, "failed": [f"{file} (time)"]}
    switch.unlink()
    anything = [sorted(set().union(*(row[n] for row in answer["tests"].values()))) for n in (1, 2)]
    for test in [test for test in answer["failed"] if test in answer["tests"]]:  # a trace makes slow
        if not first_failure([file], [test], seconds)["failed"]:
            answer["failed"].remove(test)
            answer["tests"][test][1:] = anything
    return answer


def first_failure(files: list[str], chosen: list[str], seconds: float) -> dict[str, Any]:
    """Run the chosen tests of these files up to the first that fails."""

    def run() -> dict[str, Any]:
        first = _First(chosen)
        code = pytest.main(["-x", *_ALWAYS, f"--basetemp={TREE}/t", *files], plugins=[first])
        return {"failed": first.failed or ("exit code of pytest" if code not in {0, 5} else None)}

    return _in_child(run, seconds) or {"failed": None, "timed_out": True}


def _in_child(run: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any] | None:
    """What `run` says in a process of its own; None if it is not done in time."""
    _ANSWER.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would be deaf
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            with Path(TREE, ".output").open("wb") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            said = json.dumps(run())
            _ANSWER.write_text(said)
        except BaseException:  # pytest's own, or its plugins'
            traceback.print_exc()
        finally:
            os._exit(0)
    deadline = time.monotonic() + seconds
    asked = False
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL if asked else signal.SIGINT)
            deadline, asked = time.monotonic() + _GRACE_SECONDS, True
        time.sleep(0.01)
    _end_what_is_left()
    shutil.rmtree(TREE / "t", ignore_errors=True)
    if asked:
        return None
    if not _ANSWER.exists():
        return {"tests": {}, "failed": ["the process of the tests"]}
    answer: dict[str, Any] = json.loads(_ANSWER.read_text())
    return answer


def _end_what_is_left() -> None:
    ours = Path(f"/proc/self/task/{os.getpid()}/children")
    while left := ours.read_text().split():
        for process in map(int, left):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _stopped(*_: object) -> None:
    _end_what_is_left()
    os._exit(0)


def main() -> None:
    os.chdir(TREE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us, and then we are stopped
    signal.signal(signal.SIGTERM, _stopped)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for name in _HEAVY:
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        done = lines_of if asked.pop("do") == "lines" else first_failure
        print(json.dumps(done(**asked)), flush=True)


if __name__ == "__main__":
    main()
