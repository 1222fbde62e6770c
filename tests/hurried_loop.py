"""An event loop that does not wait: if no event comes before the next timer, it sets its time forward to that timer.

So a test sees the effect of a bound of seconds, with its shipped value, in milliseconds. All peers must be on the same
loop, because other processes take real time.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar

from ferry.clock import SystemClock

P = ParamSpec("P")
T = TypeVar("T")
QUIET_SECONDS = 0.002


class _Selector(selectors.EpollSelector):
    """Says how far its loop's time is ahead of the machine's."""

    def __init__(self, quiet: float) -> None:
        super().__init__()
        self.quiet = quiet
        self.ahead = 0.0
        self.threads = 0
        """That work for the loop: these take their own time."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= self.quiet or self.threads:
            return super().select(timeout)
        found = super().select(self.quiet)
        if not found:
            self.ahead += timeout - self.quiet
        return found


class HurriedLoop(asyncio.SelectorEventLoop):
    """asyncio's own in all else. `quiet`: real seconds without anything, before time is set forward: what is on its way
    on loopback arrives meanwhile."""

    def __init__(self, quiet: float = QUIET_SECONDS) -> None:
        self._hurried = _Selector(quiet)
        super().__init__(self._hurried)

    def time(self) -> float:
        return time.monotonic() + self.ahead

    @property
    def ahead(self) -> float:
        """Seconds by which time was set forward so far."""
        return self._hurried.ahead

    def run_in_executor(  # type: ignore[override]  # typeshed has the arguments' types apart
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        def done(_: object) -> None:
            self._hurried.threads -= 1

        self._hurried.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(done)
        return future


class LoopsClock(SystemClock):
    """The running loop's time."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def now(self) -> float:
        return super().now() + self.monotonic() - super().monotonic()


def hurried(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """The test runs on a loop that does not wait."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=HurriedLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


class Watch:
    """Seconds of the loop since this was made."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, HurriedLoop)
        self._loop = loop
        self._began, self._ahead = loop.time(), loop.ahead

    @property
    def seconds(self) -> float:
        """All of them: what has to be waited for is no less."""
        return self._loop.time() - self._began

    @property
    def skipped(self) -> float:
        """Those by which time was set forward: no more than is waited for, however busy the machine is."""
        return self._loop.ahead - self._ahead
