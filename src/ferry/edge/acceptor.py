"""Accepts raw sockets, several per wake-up, and survives a lack of descriptors or memory.

`loop.create_server` makes a transport at once. The SSH front and the shared port need the socket itself: they check the
first bytes, or the number of handshakes in progress, before they make one.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from typing import Final

from ferry import limits
from ferry.report import Report

from .descriptors import DescriptorGate
from .listeners import endpoint_of

# accept(2): out of descriptors or memory. The connection stays in the queue, so an immediate retry would spin.
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# Errors of the listening socket itself: a bug, or other code has closed it. All other errors concern one connection:
# Linux reports the errors that are pending on the new socket, and firewall rules as EPERM.
_BROKEN: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.EFAULT})


def pause_after(before: float | None) -> float:
    """Seconds until the next try while descriptors or memory are exhausted; `before` is the pause before it, if any."""
    return limits.ACCEPT_PAUSE_SECONDS if before is None else min(2 * before, limits.ACCEPT_PAUSE_MAX_SECONDS)


class Acceptor:
    """Calls `accepted(sock)` with each new non-blocking socket. Owns the listening sockets it was given."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        accepted: Callable[[socket.socket], None],
        *,
        report: Report,
        gate: DescriptorGate | None = None,
    ) -> None:
        self._sockets = list(sockets)
        self._accepted = accepted
        self._report = report
        self._gate = gate
        self._stopped = False
        """The gate has paused this acceptor."""
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        self._pause_seconds: dict[socket.socket, float] = {}

    def start(self) -> None:
        """Begin to accept, on the running loop."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.add_reader(sock, self._wake, sock)
        if self._gate is not None:
            self._gate.add(self)

    def pause(self) -> None:
        """Stop accepting until `resume`."""
        self._stopped = True
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.remove_reader(sock)

    def resume(self) -> None:
        """Accept again, the waiting connections first."""
        self._stopped = False
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            if sock not in self._pauses:
                loop.add_reader(sock, self._wake, sock)

    def close(self) -> None:
        """Close the listening sockets. Accepted connections stay."""
        loop = asyncio.get_running_loop()
        if self._gate is not None:
            self._gate.discard(self)
        for timer in self._pauses.values():
            timer.cancel()
        self._pauses.clear()
        for sock in self._sockets:
            loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()

    def _wake(self, sock: socket.socket) -> None:
        for _ in range(limits.ACCEPT_BURST):
            try:
                connection, _peer = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._pause(sock, error)
                    return
                if error.errno in _BROKEN:
                    raise
                continue
            self._pause_seconds.pop(sock, None)
            connection.setblocking(False)
            if self._gate is not None:
                self._gate.seen(connection.fileno())
            self._accepted(connection)
            if self._stopped or sock.fileno() < 0:
                return  # `accepted` has closed this socket, or the gate has paused the acceptor

    def _pause(self, sock: socket.socket, error: OSError) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(sock)
        before = self._pause_seconds.get(sock)
        seconds = self._pause_seconds[sock] = pause_after(before)
        if before is None:  # one report per shortage, not one per retry
            address = endpoint_of(sock.getsockname())
            self._report("accept.paused", address=str(address), error=error.strerror, seconds=seconds)
        self._pauses[sock] = loop.call_later(seconds, self._resume, sock)

    def _resume(self, sock: socket.socket) -> None:
        del self._pauses[sock]
        if self._stopped:
            return
        asyncio.get_running_loop().add_reader(sock, self._wake, sock)
        self._wake(sock)
