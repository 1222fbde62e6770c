"""What pytest is watched with: the first test that fails, and which places each test comes to."""

from __future__ import annotations

import signal
import time
from collections.abc import Generator, Mapping
from typing import Any

import pytest

from . import child, switch


class First:
    """Remembers the first test that fails. An alarm ends the process at a test that takes longer than its patience says,
    in seconds."""

    def __init__(self, patience: Mapping[str, float]) -> None:
        self._patience = patience
        self.failed: str | None = None
        self._began = time.monotonic()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        child.running(nodeid)
        self._began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, self._patience.get(nodeid, 0))

    def pytest_runtest_logfinish(self) -> None:
        signal.setitimer(
            signal.ITIMER_REAL, 0
        )  # the time of this test is not the next one's, which is told of meanwhile

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid

    def answer(self) -> dict[str, Any]:
        if not self.failed:
            return {"state": "passed"}
        return {"state": "failed", "test": self.failed, "seconds": time.monotonic() - self._began}


class Chosen:
    """Keeps the tests that were chosen, in that order."""

    def __init__(self, chosen: list[str]) -> None:
        self._chosen = {test: number for number, test in enumerate(chosen)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        there = {item.nodeid for item in items}
        # A bound may be part of a test's name, which is another one once it is lifted: every case of that test is asked.
        renamed = {_function(test): number for test, number in self._chosen.items() if test not in there}
        ranks = renamed | self._chosen
        ranked = [
            (ranks[name], item) for item in items for name in (item.nodeid, _function(item.nodeid)) if name in ranks
        ]
        items[:] = dict.fromkeys(item for _, item in sorted(ranked, key=lambda one: one[0]))


def _function(test: str) -> str:
    """A test's name without its parameters."""
    return test.partition("[")[0]


class Notes:
    """Notes for each test its seconds, whether it passed, and the places to which it or its child processes came.

    A process writes each place once. What a fixture that tests share has come to counts for all tests that use it.
    """

    def __init__(self) -> None:
        self._tests: dict[str, tuple[float, set[int]]] = {}
        self._failed: dict[str, str] = {}
        self._using: dict[str, set[str]] = {}
        self._shared: dict[str, tuple[str, float]] = {}
        """Of each fixture that tests share: where it is from, and its seconds, which are not those of the test that asks
        for it first."""
        self._preparing = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        began = time.monotonic()
        result = yield
        if fixturedef.scope != "function" and not fixturedef.func.__module__.startswith(("_pytest", "pytest")):
            seconds = time.monotonic() - began
            self._shared[fixturedef.argname] = f"{fixturedef.baseid}::{fixturedef.argname}", seconds
            self._preparing += seconds
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        child.running(item.nodeid)
        switch.forget()
        self._preparing = 0.0
        began = time.monotonic()
        result = yield
        seconds = time.monotonic() - began - self._preparing
        self._tests[item.nodeid] = seconds, switch.marked()
        self._using[item.nodeid] = set(getattr(item, "fixturenames", ()))
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed[report.nodeid] = str(report.longrepr).rstrip().rpartition("\n")[2]

    def answer(self) -> dict[str, Any]:
        """Of each test its seconds, the places, and the shared fixtures that it uses with their seconds."""
        for fixture in self._shared:
            users = [test for test, used in self._using.items() if fixture in used]
            everything = set().union(*(self._tests[test][1] for test in users))
            self._tests.update((test, (self._tests[test][0], everything)) for test in users)
        tests = {
            test: (
                seconds,
                sorted(places),
                dict(self._shared[name] for name in self._using[test] & self._shared.keys()),
            )
            for test, (seconds, places) in self._tests.items()
        }
        return {"state": "passed", "tests": tests, "failed": self._failed}
