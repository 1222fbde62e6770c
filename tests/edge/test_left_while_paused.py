"""Visitors of a port that leave while their service does not read, so that the loop does not watch their sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.tcp_tunnel import TcpTunnel, listening, port_of
from edge.test_leavers import BOUNDS, UPGRADE, head, with_ssh
from ferry import limits
from ferry.clock import SystemClock
from ferry.edge.tcp import TcpEdge
from ferry.names import Address, Endpoint, Kind
from ferry.policy.grants import Grant
from ferry.report import no_report
from ferry.streams import Sink
from granted import open_to_all
from inside_gateway import SECONDS, inside_gateway
from resets import reset_at_close
from ssh_command import StockSsh
from turns import until

BOTH_LOOPS = True
OF_EACH = 5
LOOK_SECONDS = 0.01
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEFT_LOOK_SECONDS", LOOK_SECONDS)


class Full:
    """A `Stream` into a service that reads nothing after the first piece, until the test says so."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.taken = b""
        self.full = True
        self.said: list[str] = []
        self.news = asyncio.Event()

    def _hear(self, what: str) -> None:
        self.said.append(what)
        self.news.set()

    def write(self, data: bytes) -> None:
        self.taken += data
        if self.full:
            self.sink.pause_writing()
        self._hear("data")

    def write_eof(self) -> None:
        self._hear("eof")

    def close(self) -> None:
        self._hear("close")

    def abort(self) -> None:
        self._hear("abort")

    def pause_reading(self) -> None:
        self._hear("pause")

    def resume_reading(self) -> None:
        self._hear("resume")

    def reads(self) -> None:
        self.full = False
        self.sink.resume_writing()

    async def until(self, what: str) -> None:
        async with asyncio.timeout(SECONDS):
            while what not in self.said:
                self.news.clear()
                await self.news.wait()


class FullTunnel(TcpTunnel):
    """To that service."""

    stream: Full

    def dial(self, grant: Grant, originator: Endpoint, sink: Sink) -> Full:
        self.stream = Full(sink)
        sink.stream_opened()
        return self.stream

    async def visit_ended(self) -> None:
        async with asyncio.timeout(SECONDS):
            await self.visited_event.wait()


@asynccontextmanager
async def visiting() -> AsyncIterator[tuple[FullTunnel, socket.socket]]:
    """A visitor of a port, of whom the service has taken a first piece."""
    tunnel = FullTunnel("unused", ("127.0.0.1", 1))
    tunnel.address = Address(Kind.TCP, "", 30042)
    edge = TcpEdge(report=no_report, clock=SystemClock(), visits=open_to_all(), open_proxy=lambda _tunnel: None)
    listener = await listening(edge, tunnel, hosts=["127.0.0.1"])
    loop = asyncio.get_running_loop()
    try:
        with socket.socket() as visitor:
            visitor.setblocking(False)
            await loop.sock_connect(visitor, ("127.0.0.1", port_of(listener)))
            await loop.sock_sendall(visitor, b"first")
            await until(lambda: len(listener))
            await tunnel.stream.until("data")
            yield tunnel, visitor
    finally:
        listener.close(cut=True)


def leave(visitor: socket.socket) -> None:
    reset_at_close(visitor)
    visitor.close()


async def looks(count: int = 10) -> None:
    """Time for so many looks; no event tells of one that finds nothing."""
    for _ in range(count):
        await asyncio.sleep(LOOK_SECONDS)


async def test_a_reset_while_the_service_does_not_read_is_noticed() -> None:
    async with visiting() as (tunnel, visitor):
        await asyncio.get_running_loop().sock_sendall(visitor, b"more")
        leave(visitor)
        await tunnel.visit_ended()
        assert tunnel.stream.said == ["data", "abort"]
        assert [visit.up for visit in tunnel.visits] == [len("first")]


async def test_a_reset_after_an_end_of_file_is_noticed_while_the_service_is_silent() -> None:
    async with visiting() as (tunnel, visitor):
        tunnel.stream.reads()
        visitor.shutdown(socket.SHUT_WR)
        await tunnel.stream.until("eof")
        leave(visitor)
        await tunnel.visit_ended()
        assert tunnel.stream.said == ["data", "eof", "abort"]


async def test_a_visitor_that_waits_for_its_service_stays() -> None:
    async with visiting() as (tunnel, visitor):
        await looks()
        await asyncio.get_running_loop().sock_sendall(visitor, b" second")
        tunnel.stream.reads()
        await until(lambda: tunnel.stream.taken == b"first second")
        assert set(tunnel.stream.said) == {"data"}


async def test_a_visitor_is_read_to_its_end_after_its_service_has_ended() -> None:
    """Both directions are over for the kernel, which tells that as it tells a reset; but nobody has read the rest."""
    async with visiting() as (tunnel, visitor):
        tunnel.stream.sink.eof_received()
        await asyncio.get_running_loop().sock_sendall(visitor, b" and the rest")
        visitor.shutdown(socket.SHUT_WR)
        await looks()
        assert tunnel.visits == []
        tunnel.stream.reads()
        await tunnel.stream.until("close")
        assert tunnel.stream.taken == b"first and the rest"
        assert "abort" not in tunnel.stream.said


async def pour_and_leave(port: int, first: bytes) -> None:
    """Until nothing more is taken."""
    loop = asyncio.get_running_loop()
    with socket.socket() as visitor:
        visitor.setblocking(False)
        await loop.sock_connect(visitor, ("127.0.0.1", port))
        await loop.sock_sendall(visitor, first)
        if first:
            await loop.sock_recv(visitor, 65_536)
        try:
            while True:
                async with asyncio.timeout(0.5):
                    await loop.sock_sendall(visitor, bytes(65_536))
        except TimeoutError:
            leave(visitor)


@asynccontextmanager
async def asleep(*, upgrades: bool) -> AsyncIterator[int]:
    """A service that reads nothing of what it is sent; where it `upgrades`, nothing after the request. Its port."""

    async def upgrade() -> None:
        while True:
            taken, _ = await loop.sock_accept(listener)
            held.append(taken)
            await loop.sock_recv(taken, 4096)
            await loop.sock_sendall(taken, SWITCHED)

    held: list[socket.socket] = []
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        upgrading = asyncio.create_task(upgrade()) if upgrades else None
        try:
            yield listener.getsockname()[1]
        finally:
            if upgrading is not None:
                upgrading.cancel()
            for taken in held:
                taken.close()


@pytest.mark.parametrize("door", ["a port", "an upgrade", "an alias"])
async def test_a_visitor_that_floods_an_unreading_service_and_resets_leaves_nothing(
    tmp_path: Path, key: Path, free_port: int, door: str
) -> None:
    """Through a stock ssh each, which has its own end of a channel until its service has read or gone."""
    async with inside_gateway(bounds=BOUNDS) as gateway:
        port = gateway.ports.loopback[0]
        asked = {"a port": str(port), "an upgrade": "leavers:80", "an alias": "leavers:7"}[door]
        async with (
            asleep(upgrades=door == "an upgrade") as target,
            with_ssh(gateway, tmp_path, key, f"{asked}:127.0.0.1:{target}"),
        ):
            before = gateway.kept()
            for what in ("TunnelChannel", "streams"):
                before[what] += OF_EACH
            if door == "a port":
                await asyncio.gather(*(pour_and_leave(port, b"") for _ in range(OF_EACH)))
            elif door == "an upgrade":
                before["file descriptors"] += OF_EACH  # of the service
                request = head("upgrade", UPGRADE)
                await asyncio.gather(*(pour_and_leave(gateway.http_port, request) for _ in range(OF_EACH)))
            else:
                ssh = StockSsh(tmp_path, "127.0.0.1", gateway.ssh_port, key)
                with ssh.start("-N", "-v", "-L", f"127.0.0.1:{free_port}:leavers:7") as through:
                    await asyncio.to_thread(through.error_line, "Entering interactive session|pledge")
                    await asyncio.gather(*(pour_and_leave(free_port, b"") for _ in range(OF_EACH)))
                    through.process.kill()
            await gateway.back_to(before)
