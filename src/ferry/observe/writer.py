"""Writes log lines in a thread of its own, because the reader of a pipe may stop and a disk may fill.

Neither may delay the event loop. `put` makes the line and queues it; the queue is bounded. The thread writes the queued
lines some fifty times a second. When the queue is full, `put` drops lines and counts them. Once lines flow again, a
notice gives their number.

The event loop makes the line, not the thread: two threads that compute take turns at the interpreter's lock in slices of
5 ms. With lines made in the thread, the loop served a quarter of the requests per second.
"""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable, Sequence
from typing import Final

from ferry import limits

from .events import Event
from .levels import LEVELS
from .render import Render

STOP: Final = b""


class LogWriter:
    """Writes events to the file descriptor `fd`, which it does not close. `put` may be called from any thread.

    `now` gives seconds since the epoch, for the writer's own notices.
    """

    def __init__(self, fd: int, render: Render, *, now: Callable[[], float], size: int = limits.LOG_QUEUE) -> None:
        self._fd = fd
        self._render = render
        self._now = now
        self._size = size
        self._queue: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._refused = 0  # lines that found the queue full
        self._failed = 0  # lines whose write failed; only the thread changes it
        self._told = 0
        self._torn = False
        self._lock = threading.Lock()
        self._closing = threading.Event()
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
        self._queue.put(self._line(event))

    def close(self, timeout: float = limits.LOG_CLOSE_SECONDS) -> bool:
        """Write the queued lines, for at most `timeout` seconds. False if lines were left over."""
        self._closing.set()
        self._queue.put(STOP)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _line(self, event: Event) -> bytes:
        try:
            text = self._render(event)
        except Exception as error:  # a field whose str() fails must not end all logging
            fields = {"about": event.name, "error": type(error).__name__}
            text = self._render(Event(0, event.time, LEVELS["report.failed"], "report.failed", fields))
        return text.encode("utf-8", "backslashreplace") + b"\n"

    def _run(self) -> None:
        stopping = False
        while not stopping:
            quiet = self._queue.empty()
            lines = [self._queue.get()]
            if quiet:
                self._closing.wait(limits.LOG_GATHER_SECONDS)
            lines += [self._queue.get() for _ in range(min(self._queue.qsize(), limits.LOG_BATCH - 1))]
            stopping = STOP in lines
            self._failed += self._send([line for line in lines if line])
            # The queue is half empty, so lines flow again: one notice covers the whole gap.
            if self.dropped > self._told and self._queue.qsize() <= self._size // 2:
                self._tell()

    def _tell(self) -> None:
        count = self.dropped - self._told
        notice = self._line(Event(0, self._now(), LEVELS["log.dropped"], "log.dropped", {"count": count}))
        if not self._send([notice]):
            self._told += count

    def _send(self, lines: Sequence[bytes]) -> int:
        """Write `lines`; how many were not written whole."""
        # A line that a full disk cut in two must not swallow the start of the next.
        data = (b"\n" if self._torn else b"") + b"".join(lines)
        sent = 0
        try:
            while sent < len(data):
                try:
                    sent += os.write(self._fd, data[sent:])
                except BlockingIOError:  # another process made the shared terminal or pipe non-blocking
                    select.select([], [self._fd], [])
        except OSError:
            end, lost = len(data) - sum(map(len, lines)), 0
            for line in lines:
                end += len(line)
                lost += end > sent
            self._torn = self._torn if not sent else data[sent - 1 : sent] != b"\n"
            return lost
        self._torn = False
        return 0
