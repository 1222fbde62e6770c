"""Draws values for a target until one fails, the time is over, or there were enough."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from .target import Target, Value, cases, reached

SHRINK_SECONDS = 60.0  # for making a failing value smaller
BATCH = 2000  # values of one seed


@dataclass
class Failure:
    """The smallest value found that fails, and how."""

    value: Value
    error: BaseException


@dataclass
class Drawn:
    """What came of it."""

    count: int = 0
    seconds: float = 0.0
    failure: Failure | None = None
    new: list[Value] = field(default_factory=list)
    """Values that took ways through the code which nothing before them took."""


class OutOfTime(KeyboardInterrupt):
    """Ends a run at once: hypothesis passes it on, and takes it for no failure."""


class Ways:
    """Which lines of some files were run after which: what a corpus is measured by."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._files = {file for name in modules if (file := sys.modules[name].__file__)}
        self._seen: set[tuple[CodeType, int, int]] = set()

    def run(self, target: Target, value: Value) -> bool:
        """Check `value`; True if a line followed another that it had not followed before."""
        before = len(self._seen)
        sys.settrace(self._enter)
        try:
            target.check(value)
        finally:
            sys.settrace(None)
        return len(self._seen) > before

    def _enter(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        if frame.f_code.co_filename not in self._files:
            return None
        last = 0

        def step(frame: FrameType, _event: str, _argument: Any) -> Any:
            nonlocal last
            self._seen.add((frame.f_code, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step


def draw(target: Target, number: int, most: int, *, until: float = float("inf"), ways: Ways | None = None) -> Drawn:
    """Up to `most` values that the seed `number` gives, no longer than `until` by the monotonic clock."""
    drawn = Drawn()
    began = time.monotonic()
    shrink_until = 0.0

    @seed(number)
    @settings(
        max_examples=most,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(target.values)
    def attempt(value: Value) -> None:
        nonlocal shrink_until
        failure = drawn.failure
        if failure is None and time.monotonic() > until:
            raise OutOfTime
        if failure is not None and time.monotonic() > shrink_until and value != failure.value:
            return  # as small as the time allows: all others count as good
        drawn.count += 1
        try:
            new = ways is not None and ways.run(target, value)
            if ways is None:
                target.check(value)
        except BaseException as error:
            shrink_until = shrink_until or time.monotonic() + SHRINK_SECONDS
            drawn.failure = Failure(value, error)
            raise
        if new:
            drawn.new.append(value)

    try:
        attempt()
    except OutOfTime:
        pass
    except BaseException:
        if drawn.failure is None:
            raise
    drawn.seconds = time.monotonic() - began
    return drawn


def draw_for(target: Target, number: int, seconds: float) -> Drawn:
    """Batch after batch for so many seconds, after everything that is in the corpus."""
    began = time.monotonic()
    ways = Ways(target.modules)
    total = Drawn()
    for value in [*reached(target.name), *(case.value for case in cases(target.name))]:
        total.count += 1
        try:
            ways.run(target, value)
        except Exception as error:
            total.failure = Failure(value, error)
            break
    while total.failure is None and time.monotonic() - began < seconds:
        drawn = draw(target, number, BATCH, until=began + seconds, ways=ways)
        number += 1
        total.count += drawn.count
        total.new += drawn.new
        total.failure = drawn.failure
    total.seconds = time.monotonic() - began
    return total
