"""Serves protocols on a listening socket, and can stop accepting for a while.

The loop's own server is the quicker (50 µs less CPU per connection here than `Acceptor`), but asyncio's takes the whole
queue at once, up to `limits.ACCEPT_BACKLOG`; uvloop's takes one in each turn of the loop. Where so many might not leave
a descriptor free, `Acceptor` takes them one by one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from ferry import limits, tasks
from ferry.report import Report

from .acceptor import Acceptor
from .descriptors import DescriptorGate


class Server(Protocol):
    """Owns its listening socket."""

    async def start(self) -> None:
        """Begin to accept."""
        ...

    def close(self) -> None:
        """Close the listening socket. What was accepted is not touched."""
        ...


def server_on(
    sock: socket.socket, factory: Callable[[], asyncio.Protocol], *, report: Report, gate: DescriptorGate | None
) -> Server:
    """A server that makes a protocol of each connection. The protocols tell `gate` their descriptors themselves."""
    if gate is None or gate.holds(_at_once()):
        return LoopServer(sock, factory, gate)
    return CarefulServer(sock, factory, report=report, gate=gate)


def _at_once() -> int:
    """How many connections the running loop's servers take before the gate looks: uvloop one in a turn, asyncio all."""
    uvloop = type(asyncio.get_running_loop()).__module__.startswith("uvloop")
    return limits.UVLOOP_BURST if uvloop else limits.ACCEPT_BACKLOG


class CarefulServer:
    """Asks the gate at each accept."""

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
        except OSError:  # gone already
            sock.close()


class LoopServer:
    """The loop's own server, which knows only one way to stop: to close its socket.

    So it gets a duplicate, and the socket itself stays open, with the queue of those who wait.
    """

    def __init__(
        self, sock: socket.socket, factory: Callable[[], asyncio.Protocol], gate: DescriptorGate | None
    ) -> None:
        self._sock = sock
        self._factory = factory
        self._gate = gate
        self._server: asyncio.Server | None = None
        self._wanted = True
        """Accepting is what should be going on."""

    async def start(self) -> None:
        if self._gate is not None and self._wanted:  # not closed already
            self._gate.add(self)
        await self._serve()

    def pause(self) -> None:
        self._wanted = False
        if self._server is not None:
            self._server.close()
            self._server = None

    def resume(self) -> None:
        self._wanted = True
        tasks.spawn("accept again", self._serve())

    def close(self) -> None:
        if self._gate is not None:
            self._gate.discard(self)
        self.pause()
        self._sock.close()

    async def _serve(self) -> None:
        if self._is_settled():
            return
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._factory, sock=self._sock.dup(), backlog=limits.ACCEPT_BACKLOG)
        if self._is_settled():  # paused or closed meanwhile
            server.close()
        else:
            self._server = server

    def _is_settled(self) -> bool:
        """Whether there is nothing to begin."""
        return not self._wanted or self._server is not None
