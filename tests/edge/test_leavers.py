"""Visitors that leave at any stage, by both ends, leave nothing behind. Inside a gateway with a real ssh."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from asyncssh.constants import MSG_CHANNEL_CLOSE, MSG_CHANNEL_OPEN_CONFIRMATION, MSG_CHANNEL_OPEN_FAILURE
from asyncssh.packet import String, UInt32

from edge.http_rig import service
from ferry.edge.bridge import Bridge
from ferry.edge.http.exchange import Exchange
from ferry.edge.http.h1 import H1Connection
from ferry.edge.http.shared import Bounds
from ferry.edge.http.upstream import Upstream
from ferry.edge.tcp_visitor import TcpVisitor
from ferry.ssh.wire.channel import TunnelChannel
from inside_gateway import SECONDS, Inside, inside_gateway
from resets import reset
from ssh_command import StockSsh
from turns import until

BOTH_LOOPS = True
OF_EACH = 20
BOUNDS = Bounds(head_seconds=2, linger_seconds=0.1, half_closed_seconds=0.2, pool_idle_seconds=0.2, tick_seconds=0.05)
UPGRADE = b"Connection: Upgrade\r\nUpgrade: echo\r\n"


def head(path: str, more: bytes = b"", method: bytes = b"GET") -> bytes:
    return b"%b /%b HTTP/1.1\r\nHost: leavers.localhost\r\n%b\r\n" % (method, path.encode(), more)


HTTP_STAGES: dict[str, tuple[bytes, bytes]] = {
    "before the head": (b"", b""),
    "in the head": (b"GET / HT", b""),
    "while the channel opens": (head("silent"), b""),
    "in the body": (head("silent", b"Content-Length: 1000000\r\n", b"POST") + bytes(20_000), b""),
    "in a chunk": (head("silent", b"Transfer-Encoding: chunked\r\n", b"POST") + b"4000\r\n" + bytes(9000), b""),
    "waiting": (head("reached"), b"HTTP/1.1 103 "),
    "in the answer": (head("endless"), b"hello"),
    "after the answer": (head("short"), b"short"),
    "with requests behind": (head("endless") + head("short") * 20, b"hello"),
    "asking for an upgrade": (head("reached", UPGRADE), b"HTTP/1.1 103 "),
    "in an upgrade": (head("upgrade", UPGRADE) + b"up", b"endless"),
    "nobody's name": (head("").replace(b"leavers", b"nobody"), b""),
}
"""What a visitor sends, and what it waits for before it leaves."""

TCP_STAGES: dict[str, tuple[bytes, bytes]] = {
    "while the channel opens": (b"", b""),
    "with bytes on the way up": (bytes(100_000), b""),
    "waiting": (b"reached\r\n\r\n", b"HTTP/1.1 103 "),
    "in the answer": (b"endless\r\n\r\n", b"hello"),
}


async def local_service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        asked = await reader.readuntil(b"\r\n\r\n")
        if b"endless" in asked:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"4000\r\n" + b"hello..." * 2048 + b"\r\n")
                await writer.drain()
        elif b"upgrade" in asked:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            while not reader.at_eof():
                writer.write(b"endless" * 1000)
                await writer.drain()
            return
        elif b"short" in asked:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshort")
        else:
            if b"reached" in asked:
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await reader.read()
            return


async def leave(port: int, stage: tuple[bytes, bytes], how: str) -> None:
    """One visitor."""
    sent, awaited = stage
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    if awaited:
        await reader.readuntil(awaited)
    if how == "RST":
        reset(writer)
    else:
        writer.transport.close()


async def all_leave(port: int, stages: dict[str, tuple[bytes, bytes]], how: str, count: int) -> None:
    async with asyncio.timeout(SECONDS):
        for stage in stages.values():
            await asyncio.gather(*(leave(port, stage, how) for _ in range(count)))


@asynccontextmanager
async def with_ssh(
    gateway: Inside, folder: Path, key: Path, *forwards: str, options: tuple[str, ...] = ()
) -> AsyncIterator[None]:
    """Stock ssh, and its forwards open to visitors."""
    asked = [word for forward in forwards for word in ("-R", forward)]
    ssh = StockSsh(folder, "127.0.0.1", gateway.ssh_port, key).start("-N", *options, *asked)
    try:
        await until(lambda: len(gateway.tunnels) >= len(forwards), every=0.01)
        await gateway.let_through()
        yield
    finally:
        await asyncio.to_thread(ssh.close)


def check_the_books(gateway: Inside) -> None:
    """Each visit was told once, and what was told adds up to what was counted."""
    (client,) = gateway.clients
    for tunnel in gateway.tunnels:
        visits = [visit for visit in (fields["visit"] for fields in gateway.said("visit")) if visit.tunnel == tunnel.id]
        told = (len(visits), sum(visit.up for visit in visits), sum(visit.down for visit in visits))
        assert told == (tunnel.traffic.visits, tunnel.traffic.up, tunnel.traffic.down)
    assert client.up == sum(tunnel.traffic.up for tunnel in gateway.tunnels)
    assert client.down == sum(tunnel.traffic.down for tunnel in gateway.tunnels)


@pytest.mark.parametrize("how", ["FIN", "RST"])
async def test_http_visitors_that_leave_keep_nothing(tmp_path: Path, key: Path, how: str) -> None:
    async with (
        service(local_service) as target,
        inside_gateway(bounds=BOUNDS) as gateway,
        with_ssh(gateway, tmp_path, key, f"leavers:80:127.0.0.1:{target}"),
    ):
        before = gateway.kept()
        await all_leave(gateway.http_port, HTTP_STAGES, how, OF_EACH)
        await gateway.back_to(before)
        check_the_books(gateway)
        assert gateway.tunnels[0].traffic.visits >= (len(HTTP_STAGES) - 3) * OF_EACH


@pytest.mark.parametrize("how", ["FIN", "RST"])
async def test_tcp_visitors_that_leave_keep_nothing(tmp_path: Path, key: Path, how: str) -> None:
    async with service(local_service) as target, inside_gateway(bounds=BOUNDS) as gateway:
        port = gateway.ports.loopback[0]
        async with with_ssh(gateway, tmp_path, key, f"{port}:127.0.0.1:{target}"):
            before = gateway.kept()
            await all_leave(port, TCP_STAGES, how, OF_EACH)
            await gateway.back_to(before)
            check_the_books(gateway)
            assert gateway.tunnels[0].traffic.visits == len(TCP_STAGES) * OF_EACH


@pytest.mark.parametrize("how", ["FIN", "RST"])
async def test_visitors_that_leave_are_freed_without_the_cycle_collector(tmp_path: Path, key: Path, how: str) -> None:
    """Its runs cost a gateway with many short visits 6 % of its CPU."""
    async with service(local_service) as target, inside_gateway(bounds=BOUNDS) as gateway:
        port = gateway.ports.loopback[0]
        forwards = f"leavers:80:127.0.0.1:{target}", f"{port}:127.0.0.1:{target}"
        async with with_ssh(gateway, tmp_path, key, *forwards):
            kept = gateway.kept()
            gc.collect()
            gc.disable()
            try:
                await all_leave(gateway.http_port, HTTP_STAGES, how, 3)
                await all_leave(port, TCP_STAGES, how, 3)
                await gateway.back_to(kept)
                assert of_visits() == {}
            finally:
                gc.enable()


def of_visits() -> Counter[type]:
    """The number of objects of each kind that a visit makes."""
    kinds = (Bridge, H1Connection, Exchange, TcpVisitor, TunnelChannel, Upstream)
    return Counter(kind for thing in gc.get_objects() if (kind := type(thing)) in kinds)


@pytest.mark.parametrize("how", ["FIN", "RST"])
async def test_visitors_of_an_alias_that_leave_keep_nothing(
    tmp_path: Path, key: Path, free_port: int, how: str
) -> None:
    """Through a stock ssh that forwards a local port to the alias."""
    async with (
        service(local_service) as target,
        inside_gateway(bounds=BOUNDS) as gateway,
        with_ssh(gateway, tmp_path, key, f"leavers:7:127.0.0.1:{target}"),
    ):
        ssh = StockSsh(tmp_path, "127.0.0.1", gateway.ssh_port, key)
        through = ssh.start("-N", "-v", "-L", f"127.0.0.1:{free_port}:leavers:7")
        try:
            await asyncio.to_thread(through.error_line, "Entering interactive session|pledge")
            before = gateway.kept()
            await all_leave(free_port, TCP_STAGES, how, OF_EACH)
            await gateway.back_to(before)
        finally:
            await asyncio.to_thread(through.close)
        (tunnel,) = gateway.tunnels
        visits = [fields["visit"] for fields in gateway.said("visit")]
        assert len(visits) == tunnel.traffic.visits <= len(TCP_STAGES) * OF_EACH
        assert len(visits) >= (len(TCP_STAGES) - 1) * OF_EACH  # of those who leave at once ssh may ask for none
        assert sum(visit.up for visit in visits) == tunnel.traffic.up
        assert sum(visit.down for visit in visits) == tunnel.traffic.down


def confirm_and_close(number: int) -> list[tuple[int, bytes]]:
    confirmed = UInt32(number) + UInt32(1000 + number) + UInt32(2**20) + UInt32(2**15)
    return [(MSG_CHANNEL_OPEN_CONFIRMATION, confirmed), (MSG_CHANNEL_CLOSE, UInt32(number))]


def refuse(number: int) -> list[tuple[int, bytes]]:
    return [(MSG_CHANNEL_OPEN_FAILURE, UInt32(number) + UInt32(2) + String(b"no") + String(b""))]


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("answer", [confirm_and_close, refuse])
async def test_a_client_that_answers_an_open_after_its_visitor_has_left(
    key: Path, how: str, answer: Callable[[int], list[tuple[int, bytes]]]
) -> None:
    async with inside_gateway(bounds=BOUNDS) as gateway, gateway.client(key) as client:
        client.hold_opens()
        port = gateway.ports.loopback[0]
        assert await client.forward(b"leavers", 80)
        assert await client.forward(b"localhost", port)
        before = gateway.kept()
        at_once = {stage: (sent, b"") for stage, (sent, _) in HTTP_STAGES.items()}
        await all_leave(gateway.http_port, at_once, how, 5)
        await all_leave(port, {stage: (sent, b"") for stage, (sent, _) in TCP_STAGES.items()}, how, 5)
        await until(lambda: not gateway.edge.connections)
        assert client.opens.qsize() > 5

        async def answer_all() -> None:
            while True:
                number, _ = await client.opens.get()
                for message, payload in answer(number):
                    client.send(message, payload)

        answering = asyncio.create_task(answer_all())
        before["asyncio tasks"] += 1
        await gateway.back_to(before)
        answering.cancel()
        check_the_books(gateway)
