"""A running edge in front of a `TcpTunnel`, and the visitors and services that its tests need."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.tcp_tunnel import TcpTunnel
from ferry.clock import Clock, SystemClock
from ferry.edge.connections import Connections
from ferry.edge.http.edge import HttpEdge
from ferry.edge.http.own_page import OwnPage
from ferry.edge.http.shared import Bounds, IsReserved
from ferry.hostnames import Domain, Urls
from ferry.limiters.connection_limiter import ConnectionLimiter
from ferry.protocol.wrong_port import to_ssh
from ferry.registry.routes import Routes
from ferry.registry.visits_in_force import VisitsInForce
from granted import open_to_all, to_listen

HOST = "a.localhost"
OTHER = "b.localhost"
GET = b"GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n"
OWN = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""For the gateway's own name: the edge answers 404 at once."""
CLOSING = b"GET / HTTP/1.1\r\nHost: a.localhost\r\nConnection: close\r\n\r\n"
SECRET = b"an installation's own"
URLS = Urls(Domain("localhost"), 2222, 8080, None, lambda _host: False)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Rig:
    edge: HttpEdge
    routes: Routes
    visits: VisitsInForce
    tunnel: TcpTunnel
    port: int
    reports: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def resolve(self) -> list[str]:
        """For curl."""
        return ["--resolve", f"*:{self.port}:127.0.0.1"]

    async def connect(self, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """From the address `source`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
        self.writers.append(writer)
        return reader, writer

    async def talk(self, data: bytes, *, eof: bool = False, dribble: bool = False) -> bytes:
        """Send, octet by octet if told to, and read until the edge closes."""
        reader, writer = await self.connect()
        for piece in (data[at : at + 1] for at in range(len(data))) if dribble else (data,):
            writer.write(piece)
            await asyncio.sleep(0)  # the edge, on the same loop, gets its turn
        if eof:
            writer.write_eof()
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        return answer

    def forget_streams(self) -> None:
        """Close the pooled streams."""
        for backend in self.edge.backends.made.values():
            backend.close_idle()

    async def visit(self) -> None:
        """Wait until the tunnel has another visit."""
        async with asyncio.timeout(5):
            await self.tunnel.visited_event.wait()
        self.tunnel.visited_event.clear()


@contextlib.asynccontextmanager
async def running_edge(
    target: int,
    *,
    host: str = HOST,
    also: Sequence[str] = (),
    bounds: Bounds | None = None,
    tls: ssl.SSLContext | None = None,
    tls_upstream: bool = False,
    is_reserved: IsReserved | None = None,
    clock: Clock | None = None,
    limiter: ConnectionLimiter | None = None,
    connections: Connections | None = None,
    **secure: Any,
) -> AsyncIterator[Rig]:
    """`target` is the service's port on 127.0.0.1; the names in `also` lead to it too."""
    routes, visits = Routes(), open_to_all()
    tunnel = TcpTunnel(host, ("127.0.0.1", target), tls_upstream=tls_upstream)
    tunnels = [tunnel, *(TcpTunnel(name, ("127.0.0.1", target)) for name in also)]
    for each in tunnels:
        routes.add(each, to_listen(each))
    reports: list[tuple[str, dict[str, object]]] = []

    async def one_is_reserved(name: str) -> bool:
        return name == "reserved.localhost"

    def report(event: str, /, **fields: object) -> None:
        reports.append((event, fields))

    edge = HttpEdge(
        routes,
        visits,
        domain="localhost",
        clock=clock or SystemClock(),
        report=report,
        is_reserved=is_reserved or one_is_reserved,
        secret=SECRET,
        to_ssh=lambda: to_ssh(URLS),
        own_page=lambda: OwnPage("localhost", URLS.gateway, keys_only=False, abuse_contact=None),
        bounds=bounds or Bounds(linger_seconds=0.2, tick_seconds=0.05),
        limiter=limiter,
        connections=connections,
    )
    edge.start()
    server = await asyncio.get_running_loop().create_server(
        lambda: edge.protocol(secure=tls is not None, port=8080, **secure), "127.0.0.1", 0, ssl=tls
    )
    rig = Rig(edge, routes, visits, tunnel, server.sockets[0].getsockname()[1], reports)
    try:
        yield rig
    finally:
        server.close()
        edge.close()
        for each in tunnels:
            for stream in list(each.streams):
                stream.abort()
        for writer in rig.writers:
            await gone(writer)
        for each in tunnels:
            await each.quiet()


async def gone(writer: asyncio.StreamWriter) -> None:
    """Close the writer and wait for its end."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def pause_reading(writer: asyncio.StreamWriter) -> None:
    """Stop reading from the socket, so that bytes stay with the peer."""
    assert isinstance(writer.transport, asyncio.ReadTransport)
    writer.transport.pause_reading()


@contextlib.asynccontextmanager
async def service(handler: Handler, **options: Any) -> AsyncIterator[int]:
    """A service that runs `handler`. Yields its port."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            await gone(writer)

    where: dict[str, Any] = {} if "sock" in options else {"host": "127.0.0.1", "port": 0}
    server = await asyncio.start_server(serve, limit=2**20, **where, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*answers: bytes, close: bool = False) -> Handler:
    """Answers the n-th head of a connection with the n-th of `answers` (the last one again and again)."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for turn in range(1000):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answers[min(turn, len(answers) - 1)])
            await writer.drain()
            if close:
                return

    return handle


def statuses(data: bytes) -> list[int]:
    """The statuses of the answers in `data`, in their order."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
