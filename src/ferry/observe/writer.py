"""Log lines leave through one thread, because the reader of a pipe may stop and a disk may fill.

The event loop must feel neither. `put` is one operation on a bounded queue; formatting and writing happen in the
thread. When the queue is full, lines are dropped and counted, and once lines flow again one of them says how many.
"""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable
from typing import Final

from ferry import limits

from .events import Event
from .levels import LEVELS
from .render import Render

STOP: Final = None


class LogWriter:
    """Writes events to the file descriptor `fd`, which it does not close. `put` may be called from any thread.

    `now` gives seconds since the epoch, for the writer's own notices.
    """

    def __init__(self, fd: int, render: Render, *, now: Callable[[], float], size: int = limits.LOG_QUEUE) -> None:
        self._fd = fd
        self._render = render
        self._now = now
        self._size = size
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._refused = 0  # lines that found the queue full
        self._failed = 0  # lines that the descriptor did not take; written by the thread alone
        self._told = 0
        self._torn = False
        self._lock = threading.Lock()
        # A daemon: a reader that never comes back must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines lost so far, to a full queue or a failing write."""
        return self._refused + self._failed

    def put(self, event: Event) -> None:
        """Queue a line. Never blocks and never raises. With several threads the bound is exceeded by their number."""
        if self._queue.qsize() >= self._size:
            with self._lock:
                self._refused += 1
            return
        self._queue.put(event)

    def close(self, timeout: float = limits.LOG_CLOSE_SECONDS) -> bool:
        """Write what waits, for at most `timeout` seconds. False if lines were left behind."""
        self._queue.put(STOP)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (event := self._queue.get()) is not STOP:
            self._write(event)
            # Half empty: it flows again, and one notice covers the whole gap.
            if self.dropped > self._told and self._queue.qsize() <= self._size // 2:
                self._tell()
        self._tell()

    def _tell(self) -> None:
        if count := self.dropped - self._told:
            notice = Event(0, self._now(), LEVELS["log.dropped"], "log.dropped", {"count": count})
            if self._write(notice, counted=False):
                self._told += count

    def _write(self, event: Event, *, counted: bool = True) -> bool:
        try:
            text = self._render(event)
        except Exception as error:  # a field whose str() fails must not end all logging
            text = f'{{"event": "report.failed", "level": "error", "about": "{event.name}", "error": "{type(error)}"}}'
        if self._send(text.encode("utf-8", "backslashreplace") + b"\n"):
            return True
        self._failed += counted
        return False

    def _send(self, line: bytes) -> bool:
        # A line that a full disk cut in two must not swallow the start of the next.
        view = memoryview(b"\n" + line if self._torn else line)
        try:
            while view:
                try:
                    sent = os.write(self._fd, view)
                except BlockingIOError:  # somebody else made the shared terminal or pipe non-blocking
                    select.select([], [self._fd], [])
                    continue
                self._torn = sent < len(view)
                view = view[sent:]
        except OSError:
            return False
        return True
