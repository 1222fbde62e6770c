"""Bounds the unsent bytes of each visitor in the kernel, once a tunnel has many visitors.

A loop writes all that the kernel's buffer takes and does not wait for TCP_NOTSENT_LOWAT: on loopback, 4 MB for a
visitor that does not read. A thousand such visitors that come again and again would keep the tunnel busy for seconds.
So the more visitors a tunnel has, the fewer unsent bytes each may have. Past that bound the tunnel stops reading the
visitor's stream until half of them have gone. A single download is better without a bound: these checks took it to 0.75
of its speed.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

from ferry import limits
from ferry.relay import WritePause
from ferry.send_queue import not_sent


def has_left(transport: asyncio.Transport) -> bool:
    """Whether the visitor has reset its connection. Use it while the loop watches the socket for nothing.

    A hang-up alone is no reset: the kernel also reports it when both sides have sent their end-of-file, and then some
    bytes may still be unread (poll(2) POLLHUP).
    """
    sock = transport.get_extra_info("socket")
    if sock is None:  # TLS over a connection that is gone
        return False
    poll = select.poll()
    poll.register(sock.fileno(), 0)  # poll always reports errors and hang-ups
    return any(event & select.POLLERR for _, event in poll.poll(0))


class Unsent:
    """The check for one visitor. It calls `pause_writes` and `resume_writes` in turn, with WritePause.UNSENT as an int."""

    __slots__ = ("_enough", "_pause_writes", "_resume_writes", "_timer", "_transport")

    def __init__(
        self, transport: asyncio.Transport, pause_writes: Callable[[int], None], resume_writes: Callable[[int], None]
    ) -> None:
        self._transport = transport
        self._pause_writes = pause_writes
        self._resume_writes = resume_writes
        self._enough = 0
        self._timer: asyncio.TimerHandle | None = None  # runs while writing is paused

    def look(self, visitors: int) -> int:
        """Pause the writes to the visitor if it has more unsent bytes than each of the tunnel's `visitors` may have.
        Returns the number of bytes to relay before the next check."""
        most = _allowed(visitors)
        if most and self._timer is None and not_sent(self._transport) > most:
            self._enough = most // 2
            self._pause_writes(int(WritePause.UNSENT))
            self._look_again_in(limits.UNSENT_LOOK_SECONDS)
        return most or limits.UNSENT_LOOK_BYTES

    def _look_again_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look_again, seconds)

    def _look_again(self, waited: float) -> None:
        # The unsent bytes of a reset connection never go. Resume the writes: the next one finds the reset.
        if not_sent(self._transport) > self._enough and not has_left(self._transport):
            self._look_again_in(min(2 * waited, limits.UNSENT_LOOK_MOST_SECONDS))
        else:
            self._timer = None
            self._resume_writes(int(WritePause.UNSENT))

    def forget(self) -> None:
        """Stop checking. This does not call `resume_writes`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _allowed(visitors: int) -> int:
    """The number of unsent bytes that each visitor may have; 0 for few visitors, which have no bound."""
    if visitors < limits.UNSENT_VISITORS:
        return 0
    return max(limits.VISITORS_UNSENT_BYTES // visitors, limits.VISITOR_UNSENT_LEAST_BYTES)
