"""Standard logging (ferry.tasks, asyncio, asyncssh, uvicorn) goes through the same writer, one event a line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from .events import Event
from .texts import TRACEBACK, describe_exception

QUIET: Final[Mapping[str, int]] = MappingProxyType(
    # They narrate every connection at INFO; our own events say it with identities and addresses.
    {"asyncssh": logging.WARNING, "uvicorn": logging.WARNING}
)


class RoutedHandler(logging.Handler):
    """Turns a record into an event called `log`. The text is made here, where its arguments are still what they were."""

    def __init__(self, put: Callable[[Event], None]) -> None:
        super().__init__()
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, object] = {"logger": record.name, "message": record.getMessage()}
            if record.exc_info and record.exc_info[0] is not None:
                fields[TRACEBACK] = describe_exception(record.exc_info)
            self._put(Event(0, record.created, record.levelno, "log", fields))
        except Exception:  # as in logging.Handler: a broken record is reported, never raised
            self.handleError(record)


@contextmanager
def routed(put: Callable[[Event], None], level: int) -> Iterator[None]:
    """Send all of standard logging to `put` while the context lasts, then put everything back."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, {name: logging.getLogger(name).level for name in QUIET})
    root.handlers[:] = [RoutedHandler(put)]
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
