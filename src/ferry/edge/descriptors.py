"""Keeps file descriptors from running out: at 90 % of the process's limit, all listeners stop accepting.

From 85 % on descriptors are short. Listeners still accept, because only an accepted connection shows its address, and
`connections` decides which visitor to disconnect for it. That may not be enough, if the newcomers are SSH clients or
too many come at once. Then newcomers wait in the kernel's queue, and `connections` disconnects the visitors that deserve
their places least. Open connections go on; a tenth of the descriptors stays free for files and the database.

The usual check is cheap: the kernel always gives the lowest free number, so a new connection with number N shows that N
others are open. The gate counts descriptors only while they are short.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from ferry import limits
from ferry.callbacks import call_each
from ferry.report import Report

_log = logging.getLogger("ferry.edge")
_OPEN: Final = Path("/proc/self/fd")


class Pausable(Protocol):
    """A listener that can stop accepting and go on, while its socket stays open. Repeated calls are harmless."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class DescriptorGate:
    """Pauses and resumes all listeners of the process together. `most` defaults to RLIMIT_NOFILE.

    A shortage may have many pauses, as some visitors leave and others come. The gate reports its first pause, and its
    end after DESCRIPTORS_QUIET_SECONDS without another one.
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
        """The listeners do not accept."""
        self.short = False
        """Descriptors are short: while there is an `excess`, each newcomer has to displace another visitor."""
        self.excess = 0
        """The number of open descriptors above the goal."""
        self._make_room: Callable[[int], None] = lambda _wanted: None
        self._timer: asyncio.TimerHandle | None = None
        """Runs while descriptors are short."""
        self._quiet: asyncio.TimerHandle | None = None
        self._unseen = 0
        """The number of transports until the next check."""
        self._pauses = 0
        """In this shortage; 0 outside of one."""

    def has_room_for(self, at_once: int) -> bool:
        """Whether the free tenth has room for `at_once` connections, which are accepted before the next check."""
        return self._most == resource.RLIM_INFINITY or self._most - self._pause_at > at_once

    def make_room_by(self, disconnect: Callable[[int], None]) -> None:
        """While the listeners do not accept, call `disconnect` with the number of descriptors to free."""
        self._make_room = disconnect

    def admitted(self) -> None:
        """Since the last count a visitor has got a descriptor."""
        self.excess += 1

    def freed(self) -> None:
        """Since the last count a visitor's descriptor has become free."""
        self.excess -= 1

    def add(self, listener: Pausable) -> None:
        """A listener begins to accept."""
        self._listeners[listener] = None
        if self.paused:
            listener.pause()

    def discard(self, listener: Pausable) -> None:
        """A listener has closed."""
        self._listeners.pop(listener, None)

    def seen(self, descriptor: int) -> None:
        """A listener has accepted a connection; `descriptor` is its number."""
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
        call_each(_log, "a listener could not stop", [listener.pause for listener in self._listeners])
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        if not self._pauses:
            self._report("accept.stopped", open=descriptor, limit=self._most)
        self._pauses += 1

    def seen_on(self, transport: asyncio.BaseTransport) -> None:
        """The same for a transport. It checks one in DESCRIPTORS_SAMPLE, because to ask a transport costs 20 µs."""
        self._unseen -= 1
        if self._unseen > 0:
            return
        self._unseen = limits.DESCRIPTORS_SAMPLE
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None:
            self.seen(sock.fileno())

    def close(self) -> None:
        """Stop counting."""
        for timer in (self._timer, self._quiet):
            if timer is not None:
                timer.cancel()
        self._timer = self._quiet = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._look_seconds, self._look)  # first: an error must not end the counts
        count = self._open()
        if self.paused and count < self._resume_below:
            self.paused = False
            self._quiet = loop.call_later(limits.DESCRIPTORS_QUIET_SECONDS, self._over)
            call_each(_log, "a listener could not go on", [listener.resume for listener in self._listeners])
        elif self.paused:
            self._make_room(int(count - self._resume_below) + 1)
        self.excess = int(count - self._enough_below) + 1
        self.short = self.paused or self.excess > 0
        if not self.short:
            self._timer.cancel()
            self._timer = None

    def _open(self) -> int:
        try:
            return self._count()
        except OSError:  # none is left for the count itself, which Linux before 6.2 needs
            return self._most

    def _over(self) -> None:
        self._quiet = None
        self._report("accept.resumed", open=self._open(), limit=self._most, pauses=self._pauses)
        self._pauses = 0


def open_descriptors() -> int:
    """The number of descriptors that this process has open. Linux 6.2 and newer report it without listing them."""
    return _OPEN.stat().st_size or sum(1 for _ in _OPEN.iterdir())
