"""Serves protocols on a listening socket, and can stop accepting for a while.

The loop's own server is faster (50 µs less CPU per connection here than `Acceptor`). But asyncio's server accepts the
whole queue at once, up to `limits.ACCEPT_BACKLOG`; uvloop's accepts one connection in each turn of the loop. If so many
might use up the descriptors, `Acceptor` accepts them one by one instead.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from ferry import limits, tasks
from ferry.report import Report

from .acceptor import EXHAUSTED, Acceptor, pause_after
from .descriptors import DescriptorGate
from .listeners import endpoint_of


class Server(Protocol):
    """Owns its listening socket."""

    async def start(self) -> None:
        """Begin to accept."""
        ...

    def close(self) -> None:
        """Close the listening socket. Accepted connections stay."""
        ...


def server_on(
    sock: socket.socket, factory: Callable[[], asyncio.Protocol], *, report: Report, gate: DescriptorGate | None
) -> Server:
    """A server that makes a protocol for each connection. The protocols themselves report their descriptors to
    `gate`."""
    if gate is None or gate.has_room_for(_at_once()):
        return LoopServer(sock, factory, report=report, gate=gate)
    return CarefulServer(sock, factory, report=report, gate=gate)


def _at_once() -> int:
    """The number of connections that the running loop's servers accept between two checks of the gate."""
    uvloop = type(asyncio.get_running_loop()).__module__.startswith("uvloop")
    return limits.UVLOOP_BURST if uvloop else limits.ACCEPT_BACKLOG


class CarefulServer:
    """Checks the gate at each accept."""

    def __init__(
        self, sock: socket.socket, factory: Callable[[], asyncio.Protocol], *, report: Report, gate: DescriptorGate
    ) -> None:
        self._factory = factory
        self._acceptor = Acceptor([sock], self._accepted, report=report, gate=gate)

    async def start(self) -> None:
        self._acceptor.start()

    def close(self) -> None:
        self._acceptor.close()

    def _accepted(self, sock: socket.socket) -> None:
        tasks.spawn("accepted", self._serve(sock))

    async def _serve(self, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._factory, sock)
        except OSError:  # the visitor is gone already
            sock.close()


class LoopServer:
    """The loop's own server. It can stop only by closing its socket.

    So it gets a duplicate. The socket itself stays open and keeps the queue of waiting connections. Where no descriptor
    is left for the duplicate, `resume` tries again, as `Acceptor` does.
    """

    def __init__(
        self,
        sock: socket.socket,
        factory: Callable[[], asyncio.Protocol],
        *,
        report: Report,
        gate: DescriptorGate | None,
    ) -> None:
        self._sock = sock
        self._factory = factory
        self._report = report
        self._gate = gate
        self._server: asyncio.Server | None = None
        self._wanted = True
        """It is meant to accept now."""
        self._retry: asyncio.TimerHandle | None = None
        """Runs between two tries to accept again."""

    async def start(self) -> None:
        """Begin to accept. Raises OSError if no descriptor is left."""
        if self._gate is not None and self._wanted:  # `close` has not come first
            self._gate.add(self)
        await self._serve()

    def pause(self) -> None:
        self._wanted = False
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._server is not None:
            self._server.close()
            self._server = None

    def resume(self) -> None:
        self._wanted = True
        tasks.spawn("accept again", self._serve_again(None))

    def close(self) -> None:
        if self._gate is not None:
            self._gate.discard(self)
        self.pause()
        self._sock.close()

    async def _serve_again(self, before: float | None) -> None:
        """Accept again, or try again later. `before`: so many seconds after the last try, if it is not the first."""
        try:
            await self._serve()
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            if self._retry is None:
                self._retry_later(error, before)

    def _retry_later(self, error: OSError, before: float | None) -> None:
        seconds = pause_after(before)
        if before is None:  # one report per shortage, not one per try
            address = endpoint_of(self._sock.getsockname())
            self._report("accept.paused", address=str(address), error=error.strerror, seconds=seconds)

        def again() -> None:
            self._retry = None
            tasks.spawn("accept again", self._serve_again(seconds))

        self._retry = asyncio.get_running_loop().call_later(seconds, again)

    async def _serve(self) -> None:
        if self._is_settled():
            return
        loop = asyncio.get_running_loop()
        duplicate = self._sock.dup()
        try:
            create = loop.create_unix_server if duplicate.family == socket.AF_UNIX else loop.create_server
            server = await create(self._factory, sock=duplicate, backlog=limits.ACCEPT_BACKLOG)
        except BaseException:
            duplicate.close()
            raise
        if self._is_settled():  # `pause` or `close` came meanwhile
            server.close()
        else:
            self._server = server

    def _is_settled(self) -> bool:
        """Whether it serves already, or is not meant to."""
        return not self._wanted or self._server is not None
