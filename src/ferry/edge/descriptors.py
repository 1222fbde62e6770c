"""File descriptors are never used up: at 90 % of what the process may have, every listener stops accepting.

What is open goes on, and has a tenth left for files and the database. Newcomers wait in the kernel's queue, and are
served when enough of the others have left. Counting is cheap: the kernel always gives the lowest free number, so a
new connection whose number is N shows that N others are open. Only while accepting has stopped are they counted.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from ferry import limits
from ferry.report import Report

_OPEN: Final = Path("/proc/self/fd")


class Pausable(Protocol):
    """A listener that can stop accepting and go on, with its socket open all the while. Calls may be repeated."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class DescriptorGate:
    """Pauses and resumes all listeners of the process together. `most` is RLIMIT_NOFILE unless given.

    A shortage may have many pauses, as some leave and others take their place: it is told of when it begins, and when
    nothing had to be paused for a while.
    """

    def __init__(self, *, report: Report, most: int | None = None, count: Callable[[], int] | None = None) -> None:
        if most is None:
            most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = most
        self._pause_at = most * limits.DESCRIPTORS_PAUSE if most != resource.RLIM_INFINITY else float("inf")
        self._resume_below = most * limits.DESCRIPTORS_RESUME
        self._report = report
        self._count = count or open_descriptors
        self._listeners: dict[Pausable, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._quiet: asyncio.TimerHandle | None = None
        self._unseen = 0
        """Transports that need not be looked at."""
        self._pauses = 0
        """In this shortage; 0 when there is none."""

    @property
    def paused(self) -> bool:
        return self._timer is not None

    def holds(self, at_once: int) -> bool:
        """Whether the tenth that is kept has room for so many that are accepted before anybody looks."""
        return self._most == resource.RLIM_INFINITY or self._most - self._pause_at > at_once

    def add(self, listener: Pausable) -> None:
        """A listener accepts from now on."""
        self._listeners[listener] = None
        if self.paused:
            listener.pause()

    def discard(self, listener: Pausable) -> None:
        """It is closed."""
        self._listeners.pop(listener, None)

    def seen(self, descriptor: int) -> None:
        """A connection was accepted, and this is its number."""
        if descriptor < self._pause_at or self.paused:
            return
        self._timer = asyncio.get_running_loop().call_later(limits.DESCRIPTORS_LOOK_SECONDS, self._look)
        for listener in self._listeners:
            listener.pause()
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        if not self._pauses:
            self._report("accept.stopped", open=descriptor, limit=self._most)
        self._pauses += 1

    def seen_on(self, transport: asyncio.BaseTransport) -> None:
        """The same, of a transport. One in DESCRIPTORS_SAMPLE is looked at: asking a transport costs 20 µs."""
        self._unseen -= 1
        if self._unseen > 0:
            return
        self._unseen = limits.DESCRIPTORS_SAMPLE
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None:
            self.seen(sock.fileno())

    def close(self) -> None:
        """Count no more."""
        for timer in (self._timer, self._quiet):
            if timer is not None:
                timer.cancel()
        self._timer = self._quiet = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        if self._count() >= self._resume_below:
            self._timer = loop.call_later(limits.DESCRIPTORS_LOOK_SECONDS, self._look)
            return
        self._timer = None
        self._quiet = loop.call_later(limits.DESCRIPTORS_QUIET_SECONDS, self._over)
        for listener in list(self._listeners):
            listener.resume()

    def _over(self) -> None:
        self._quiet = None
        self._report("accept.resumed", open=self._count(), limit=self._most, pauses=self._pauses)
        self._pauses = 0


def open_descriptors() -> int:
    """How many descriptors this process has open. Linux 6.2 and newer tell without a list of them."""
    return _OPEN.stat().st_size or sum(1 for _ in _OPEN.iterdir())
