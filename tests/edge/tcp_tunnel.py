"""A tunnel whose streams are plain TCP connections to a real service: `ferry.registry.routes.Tunnel` without SSH."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

from ferry.edge.tcp import TcpEdge, TcpListener
from ferry.kinds.base import ListenPort
from ferry.names import Address, Endpoint, IdentityId, Kind, TunnelId
from ferry.policy.grants import Grant, Use
from ferry.streams import OpenFailure, Sink, Stream, Tap
from ferry.tasks import spawn
from ferry.visits import Traffic, Visit
from granted import to_listen
from turns import until

LOOPBACK = ("127.0.0.1", "::1")
HIGH_WATER = 256 * 1024
_numbers = itertools.count(1)


class TcpStream(asyncio.Protocol):
    """A `Stream` over one TCP connection."""

    def __init__(self, tunnel: TcpTunnel, sink: Sink) -> None:
        self.tunnel = tunnel
        self.sink: Sink | None = sink
        self.transport: asyncio.Transport | None = None
        self.pending: deque[bytes] = deque()
        self.held = False
        self.eof_wanted = self.close_wanted = self.paused = False
        self.waiting = 0  # bytes written before the connection stood

    async def open(self, target: tuple[str, int]) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, *target)
        except OSError:
            self.tunnel.streams.discard(self)
            if self.sink is not None:
                sink, self.sink = self.sink, None
                sink.stream_refused(OpenFailure.REFUSED)

    # Stream

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)
            return
        self.pending.append(data)
        self.waiting += len(data)
        if self.waiting > HIGH_WATER and not self.held and self.sink is not None:
            self.held = True
            self.sink.pause_writing()

    def write_eof(self) -> None:
        self.eof_wanted = True
        if self.transport is not None:
            self.transport.write_eof()

    def close(self) -> None:
        self.close_wanted = True
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        self.sink = None
        self.close_wanted = True
        if self.transport is not None:
            self.transport.abort()

    def pause_reading(self) -> None:
        if not self.paused:
            self.paused = True
            if self.transport is not None:
                self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.paused:
            self.paused = False
            if self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)
        if self.sink is None:
            transport.abort()
            return
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(high=HIGH_WATER)
        if self.paused:
            transport.pause_reading()
        self.sink.stream_opened()
        while self.pending:
            transport.write(self.pending.popleft())
        if self.held:
            self.held = False
            if transport.get_write_buffer_size() <= HIGH_WATER:
                self.sink.resume_writing()
        if self.eof_wanted:
            transport.write_eof()
        if self.close_wanted:
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self.sink is not None:
            self.sink.data_received(data)
            self.tunnel.read += len(data)

    def eof_received(self) -> bool:
        if self.sink is not None:
            self.sink.eof_received()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.tunnel.streams.discard(self)
        if self.sink is not None:
            sink, self.sink = self.sink, None
            sink.stream_lost(exc)

    def pause_writing(self) -> None:
        if self.sink is not None:
            self.sink.pause_writing()

    def resume_writing(self) -> None:
        if self.sink is not None:
            self.sink.resume_writing()


class TcpTunnel:
    """A `Tunnel`. `streams` has the open streams, `dialled` the originator of each dial, `visits` the visits."""

    def __init__(self, host: str, target: tuple[str, int], *, tls_upstream: bool = False) -> None:
        number = next(_numbers)
        self.id = TunnelId(f"t{number}")
        self.address = Address(Kind.HTTP, host)
        self.owner = IdentityId("tester")
        self.origins = {"192.0.2.9"}
        """Where its owner is."""
        self.tls_upstream = tls_upstream
        self.owner_name: str | None = None
        self.holder = "tester (SHA256:tester)"
        self.host_header = b""
        self.traffic = Traffic()
        self.tap: Tap | None = None
        self.target = target
        self.streams: set[TcpStream] = set()
        self.dialled: list[Endpoint] = []
        self.visits: list[Visit] = []
        self.told: list[str] = []
        """What its owner was told."""
        self.read = 0
        """Bytes that its streams have handed over."""
        self.refuse: OpenFailure | None = None
        self.dialling: Callable[[], object] = lambda: None
        """Called at the beginning of each dial."""
        self.visited_event = asyncio.Event()
        self.watched = True
        self.lasting: list[Visit] = []
        """Visits that have begun and may last."""

    @property
    def shown_address(self) -> str:
        return str(self.address)

    @property
    def kind(self) -> str:
        return self.address.kind.value

    def dial(self, grant: Grant, originator: Endpoint, sink: Sink) -> Stream:
        self.dialling()
        grant.require(self.address, self.owner, Use.VISIT)
        self.dialled.append(originator)
        stream = TcpStream(self, sink)
        if self.refuse is not None:
            stream.sink = None
            sink.stream_refused(self.refuse)
            return stream
        self.streams.add(stream)
        spawn("test.dial", stream.open(self.target))
        return stream

    def comes_from(self, origin: str) -> bool:
        return origin in self.origins

    def visited(self, visit: Visit) -> None:
        self.visits.append(visit)
        self.visited_event.set()

    def long_visit_began(self, visit: Visit) -> None:
        self.lasting.append(visit)

    def tell(self, line: str, **fields: object) -> None:
        self.told.append(line)

    def close(self) -> None:
        for stream in list(self.streams):
            stream.close()

    async def at_rest(self, before: int = 0) -> int:
        """The bytes from the service beyond `before`, once no more arrive. No event reports that end."""
        looks = [0]
        while len(looks) < 20 or looks[-20] != looks[-1] or not looks[-1]:
            await asyncio.sleep(0.01)
            looks.append(self.traffic.down - before)
        return looks[-1]

    async def quiet(self) -> None:
        """Wait until no stream is open."""
        await until(lambda: not self.streams, every=0.005)


@asynccontextmanager
async def small_visitor(port: int, receive_bytes: int = 65_536) -> AsyncIterator[socket.socket]:
    """A visitor of `port` with a small socket buffer: its unread bytes stay with the gateway, not in the kernel."""
    with socket.socket() as visitor:
        visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        visitor.setblocking(False)
        await asyncio.get_running_loop().sock_connect(visitor, ("127.0.0.1", port))
        yield visitor


async def listening(
    edge: TcpEdge, tunnel: TcpTunnel, *, hosts: Sequence[str] = LOOPBACK, public: bool = False
) -> TcpListener:
    """A free port for `tunnel`. The caller closes it."""
    listener = await edge.listen(tunnel, to_listen(tunnel), ListenPort(0, tuple(hosts), public))
    assert isinstance(listener, TcpListener), listener
    return listener


def port_of(listener: TcpListener) -> int:
    """It is the same on all addresses."""
    return listener.endpoints[0].port
