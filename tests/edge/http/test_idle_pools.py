"""The number and the age of idle streams, and a request on a dead idle stream."""

from __future__ import annotations

import asyncio

import pytest

from edge.http_rig import CLOSING, GET, HOST, Rig, answering, running_edge, service, statuses
from edge.tcp_tunnel import TcpTunnel
from ferry.edge.http.shared import Bounds
from ferry.names import Address, Kind
from granted import to_listen
from hand_clock import HandClock
from resets import reset
from turns import until

POOL_IDLE_STREAMS = 64
POOL_IDLE_SECONDS = 4.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO_TICK = Bounds(tick_seconds=60, linger_seconds=0.1)


async def fill(rig: Rig, count: int) -> None:
    """`count` requests at once, whose streams go back to the pool together."""
    visitors = [await rig.connect() for _ in range(count)]
    for _, writer in visitors:
        writer.write(GET)
    for reader, _ in visitors:
        await reader.readexactly(len(OK))


async def test_the_end_of_a_tunnel_of_another_kind_with_the_same_name_closes_no_streams() -> None:
    async with service(answering(OK)) as port, running_edge(port) as rig:
        await fill(rig, 1)
        other = TcpTunnel(HOST, ("127.0.0.1", port))
        other.address = Address(Kind.ALIAS, HOST, 22)
        rig.routes.add(other, to_listen(other))
        assert rig.routes.remove(other)
        assert rig.edge.idle_streams == 1
        await fill(rig, 1)
        assert len(rig.tunnel.dialled) == 1


async def test_idle_streams_are_bounded() -> None:
    many = 70
    together = asyncio.Barrier(many)

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await together.wait()
        writer.write(OK)
        await reader.read()

    async with service(slow) as port, running_edge(port, bounds=NO_TICK) as rig, asyncio.timeout(20):
        await fill(rig, many)
        assert len(rig.tunnel.dialled) == many
        assert rig.edge.idle_streams == POOL_IDLE_STREAMS
        await until(lambda: len(rig.tunnel.streams) <= POOL_IDLE_STREAMS)


async def test_a_stream_idle_too_long_is_not_taken_even_without_a_tick() -> None:
    clock = HandClock()
    async with service(answering(OK)) as port, running_edge(port, bounds=NO_TICK, clock=clock) as rig:
        await asyncio.gather(*(rig.talk(CLOSING) for _ in range(3)))
        before = len(rig.tunnel.dialled)
        clock.ahead += POOL_IDLE_SECONDS - 1
        await rig.talk(CLOSING)
        assert len(rig.tunnel.dialled) == before
        clock.ahead += POOL_IDLE_SECONDS
        await rig.talk(CLOSING)
        assert len(rig.tunnel.dialled) == before + 1
        assert rig.edge.idle_streams == 1  # the others were older still


async def test_the_tick_closes_only_streams_that_were_idle_too_long() -> None:
    clock = HandClock()
    bounds = Bounds(tick_seconds=0.01, linger_seconds=0.1)
    async with service(answering(OK)) as port, running_edge(port, bounds=bounds, clock=clock) as rig:
        two = asyncio.gather(*(fill(rig, 1) for _ in range(2)))
        await two
        idle = rig.edge.idle_streams
        clock.ahead += POOL_IDLE_SECONDS * 0.6
        await rig.talk(CLOSING)  # one of them is young again
        clock.ahead += POOL_IDLE_SECONDS * 0.6
        await until(lambda: not rig.edge.idle_streams == idle > 1)
        assert rig.edge.idle_streams == 1
        clock.ahead += POOL_IDLE_SECONDS
        await rig.tunnel.quiet()
        assert rig.edge.idle_streams == 0


async def test_a_closed_tunnel_keeps_no_idle_stream() -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await go.wait()
        writer.write(OK)
        await reader.read()

    async with service(slow) as port, running_edge(port, bounds=NO_TICK) as rig:
        reader, writer = await rig.connect()
        writer.write(GET)
        await asked.wait()
        rig.routes.remove(rig.tunnel)
        go.set()
        assert await reader.readexactly(len(OK)) == OK
        assert rig.edge.idle_streams == 0
        await rig.tunnel.quiet()


@pytest.mark.parametrize(
    ("request_", "status", "seen"),
    [
        (b"PUT / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 2\r\n\r\nhi", 502, 1),
        (b"PUT / HTTP/1.1\r\nHost: a.localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 502, 1),
        (b"PUT / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 0\r\n\r\n", 200, 2),
        (b"DELETE / HTTP/1.1\r\nHost: a.localhost\r\n\r\n", 200, 2),
        (b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 0\r\n\r\n", 502, 1),
        (b"PATCH / HTTP/1.1\r\nHost: a.localhost\r\n\r\n", 502, 1),
    ],
)
@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 1", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_only_a_repeatable_request_without_an_answer_is_sent_again(
    request_: bytes, status: int, seen: int, last_words: bytes
) -> None:
    heads = []

    async def dies_at_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(last_words)

    async with service(dies_at_the_second) as port, running_edge(port) as rig:
        await rig.talk(CLOSING)
        heads.clear()
        if last_words:
            status, seen = 502, 1
        assert statuses(await rig.talk(request_, eof=True))[-1] == status
        assert len(heads) == seen


async def test_a_request_is_sent_a_second_time_but_never_a_third() -> None:
    heads = []

    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if len(heads) <= 2:
            writer.write(OK)
            heads.append(await reader.readuntil(b"\r\n\r\n"))

    async with service(dies) as port, running_edge(port) as rig:
        await rig.talk(CLOSING)
        assert statuses(await rig.talk(GET, eof=True)) == [502]
        assert len(heads) == 3


async def test_a_repeated_request_uses_a_new_stream_and_no_idle_one() -> None:
    together = asyncio.Barrier(2)
    heads: list[bytes] = []

    async def dies_at_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if not heads:
            await together.wait()
        writer.write(OK)
        heads.append(await reader.readuntil(b"\r\n\r\n"))

    async with service(dies_at_the_second) as port, running_edge(port, bounds=NO_TICK) as rig, asyncio.timeout(10):
        await fill(rig, 2)
        assert rig.edge.idle_streams == 2
        assert statuses(await rig.talk(GET, eof=True)) == [200]
        assert len(rig.tunnel.dialled) == 3


async def test_a_reset_idle_stream_leaves_the_pool() -> None:
    go = asyncio.Event()

    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await go.wait()
        reset(writer)

    async with service(resets) as port, running_edge(port, bounds=NO_TICK) as rig, asyncio.timeout(10):
        await rig.talk(CLOSING)
        assert rig.edge.idle_streams == 1
        go.set()
        await rig.tunnel.quiet()
        assert rig.edge.idle_streams == 0
