"""File descriptors are never used up: at 90 % of what the process may have, every listener stops accepting.

From 85 % on they are short. Accepting goes on, so that a newcomer's address can be known, and `connections` decides who
goes for it. Where that does not help (it is SSH clients who come, or too many at once), newcomers wait in the kernel's
queue and are served when enough of the others have left; those who deserve their places least are made to. What is open goes on, and has a tenth left for files and the
database. Counting is cheap: the kernel always gives the lowest free number, so a new connection whose number is N shows
that N others are open. Only while descriptors are short are they counted.
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
        self._short_at = self._pause_at * limits.DESCRIPTORS_RESUME / limits.DESCRIPTORS_PAUSE
        self._enough_below = most * limits.DESCRIPTORS_ENOUGH
        least, each = limits.DESCRIPTORS_LOOK_LEAST_SECONDS, limits.DESCRIPTOR_LOOK_SECONDS
        self._look_seconds = min(limits.DESCRIPTORS_LOOK_SECONDS, max(least, most * each))
        self._report = report
        self._count = count or open_descriptors
        self._listeners: dict[Pausable, None] = {}
        self.paused = False
        """Nobody is accepted."""
        self.short = False
        """So many are open that a newcomer's descriptor should be somebody else's, as long as there is an `excess`."""
        self.excess = 0
        """How many more are open than are enough: as last counted, and as told since by who opens or closes some."""
        self.make_room: Callable[[int], None] = lambda _wanted: None
        """Called with how many descriptors are to be freed, while nobody is accepted: so no newcomer takes a place."""
        self._timer: asyncio.TimerHandle | None = None
        """Runs while descriptors are short."""
        self._quiet: asyncio.TimerHandle | None = None
        self._unseen = 0
        """Transports that need not be looked at."""
        self._pauses = 0
        """In this shortage; 0 when there is none."""

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
        if descriptor < self._short_at:
            return
        self.short = True
        self.excess = max(self.excess, int(descriptor - self._enough_below) + 1)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._look_seconds, self._look)
        if descriptor >= self._pause_at and not self.paused:
            self._pause(descriptor)

    def _pause(self, descriptor: int) -> None:
        self.paused = True
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
        count = self._count()
        if self.paused and count < self._resume_below:
            self.paused = False
            self._quiet = loop.call_later(limits.DESCRIPTORS_QUIET_SECONDS, self._over)
            for listener in list(self._listeners):
                listener.resume()
        elif self.paused:
            self.make_room(int(count - self._resume_below) + 1)
        self.excess = int(count - self._enough_below) + 1
        self.short = self.paused or self.excess > 0
        self._timer = loop.call_later(self._look_seconds, self._look) if self.short else None

    def _over(self) -> None:
        self._quiet = None
        self._report("accept.resumed", open=self._count(), limit=self._most, pauses=self._pauses)
        self._pauses = 0


def open_descriptors() -> int:
    """How many descriptors this process has open. Linux 6.2 and newer tell without a list of them."""
    return _OPEN.stat().st_size or sum(1 for _ in _OPEN.iterdir())
