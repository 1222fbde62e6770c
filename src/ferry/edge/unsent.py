"""What the kernel has not sent of what was written for a visitor: bounded where a tunnel has many visitors.

A loop gives the kernel whatever its buffer takes, without waiting for TCP_NOTSENT_LOWAT: on loopback 4 MB for a visitor
who does not read. A thousand of them, who come again and again, would keep the tunnel busy for seconds. So the more
visitors a tunnel has, the less may be unsent for each of them; past that its stream is not read until half has gone.
For a single download it is better to be ahead: it went at 0.75 of its speed with these looks.
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import sys
import termios
from collections.abc import Callable
from typing import Final

from ferry import limits
from ferry.relay import Choke

_SIOCOUTQNSD: Final = 0x894B  # linux/sockios.h, tcp(7): bytes in the send queue that were not sent yet


def untaken(transport: asyncio.Transport) -> int:
    """Bytes written for the visitor that its own system has not acknowledged: ours and the kernel's (tcp(7) SIOCOUTQ).

    What waits here is no measure alone: the kernel asks for more only when VISITOR_UNSENT_BYTES / 2 have gone, which
    takes a visitor at 20 KB/s three seconds.
    """
    return transport.get_write_buffer_size() + _queued(transport, termios.TIOCOUTQ)


def has_left(transport: asyncio.Transport) -> bool:
    """Whether its connection was reset: for when the loop watches the socket neither for reading nor for writing.

    A hang-up alone is no reset: the kernel tells that too where both sides have sent their end-of-file, and then there
    may be bytes that nobody has read (poll(2) POLLHUP).
    """
    sock = transport.get_extra_info("socket")
    if sock is None:  # TLS over a connection that is gone
        return False
    poll = select.poll()
    poll.register(sock.fileno(), 0)  # errors and hang-ups are always told
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _queued(transport: asyncio.Transport, request: int) -> int:
    sock = transport.get_extra_info("socket")
    if sock is None:  # TLS over a connection that is gone
        return 0
    return int.from_bytes(fcntl.ioctl(sock.fileno(), request, bytes(4)), sys.byteorder)


class Unsent:
    """Of one visitor. `choke` and `unchoke` are called with Choke.UNSENT as an int, in turn."""

    __slots__ = ("_choke", "_enough", "_timer", "_transport", "_unchoke")

    def __init__(
        self, transport: asyncio.Transport, choke: Callable[[int], None], unchoke: Callable[[int], None]
    ) -> None:
        self._transport = transport
        self._choke = choke
        self._unchoke = unchoke
        self._enough = 0
        self._timer: asyncio.TimerHandle | None = None  # runs while it is choked

    def look(self, visitors: int) -> int:
        """Stop its stream if more is unsent than each of so many visitors of a tunnel may have. Returns how many bytes
        may be relayed before the next look."""
        most = _allowed(visitors)
        if most and self._timer is None and _queued(self._transport, _SIOCOUTQNSD) > most:
            self._enough = most // 2
            self._choke(int(Choke.UNSENT))
            self._look_again_in(limits.UNSENT_LOOK_SECONDS)
        return most or limits.UNSENT_LOOK_BYTES

    def _look_again_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look_again, seconds)

    def _look_again(self, waited: float) -> None:
        # What a reset connection has not sent stays as it is, and the next write tells that it was reset.
        if _queued(self._transport, _SIOCOUTQNSD) > self._enough and not has_left(self._transport):
            self._look_again_in(min(2 * waited, limits.UNSENT_LOOK_MOST_SECONDS))
        else:
            self._timer = None
            self._unchoke(int(Choke.UNSENT))

    def forget(self) -> None:
        """Look no more. If it was choked, nobody is told that it is no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _allowed(visitors: int) -> int:
    """How many bytes may be unsent for each of them; 0 where they are few and it does not matter."""
    if visitors < limits.UNSENT_VISITORS:
        return 0
    return max(limits.VISITORS_UNSENT_BYTES // visitors, limits.VISITOR_UNSENT_LEAST_BYTES)
