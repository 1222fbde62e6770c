"""Sends standard logging (ferry.tasks, asyncio, asyncssh, uvicorn) through the same writer, one event a line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import MappingProxyType
from typing import Final

from ferry import limits
from ferry.clock import Clock
from ferry.limiters.budgets import Budgets

from .budgeted import LogRates
from .events import Event
from .sums import Omissions
from .tracebacks import Tracebacks

QUIET: Final[Mapping[str, int]] = MappingProxyType(
    # They log every connection at INFO. Our own events do so with identities and addresses.
    {"asyncssh": logging.WARNING, "uvicorn": logging.WARNING}
)


class RoutedHandler(logging.Handler):
    """Turns a log record into an event called `log`. It formats the text at once: the arguments may change later.

    Each place in the code that logs has a budget of lines, and a smaller one of tracebacks (`Tracebacks`). Records come
    from any thread; `logging.Handler.handle` passes one at a time to `emit`.
    """

    def __init__(self, put: Callable[[Event], None], *, clock: Clock, rates: LogRates) -> None:
        super().__init__()
        self._put = put
        self._clock = clock
        self._lines = Budgets(*rates.of_events(), limits.LOG_SOURCES)
        self._tracebacks = Tracebacks(clock)
        self._omissions = Omissions()

    def use(self, rates: LogRates) -> None:
        """Use `rates` from now on."""
        with self.lock or nullcontext():
            self._lines.use(*rates.of_events())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            now, place = self._clock.monotonic(), f"{record.name}:{record.lineno}"
            if not self._lines.take(place, now):
                self._omissions.add("log", place)
                return
            fields: dict[str, object] = {"logger": record.name, "message": record.getMessage()}
            if record.exc_info and record.exc_info[0] is not None:
                fields |= self._tracebacks.explain(place, record.exc_info)
            self._put(Event(0, record.created, record.levelno, "log", fields))
        except Exception:  # as in logging.Handler: a broken record is reported, never raised
            self.handleError(record)

    def take_omitted(self) -> list[tuple[str, int, dict[str, object]]]:
        """The lines left out, as `Omissions.take` gives them; counting begins anew."""
        with self.lock or nullcontext():
            return list(self._omissions.take())


@contextmanager
def routed(handler: RoutedHandler, level: int) -> Iterator[None]:
    """Send all of standard logging to `handler` while the context lasts, then restore the handlers and levels."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, {name: logging.getLogger(name).level for name in QUIET})
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(level, least))
    try:
        yield
    finally:
        root.handlers[:], root_level, levels = before
        root.setLevel(root_level)
        for name, old in levels.items():
            logging.getLogger(name).setLevel(old)
