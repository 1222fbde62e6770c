"""Waiting times of the edge, with the default configuration. This page has its own figures."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket

import pytest

from edge.http_rig import CLOSING, GET, Handler, answering, running_edge, service
from ferry.edge.http.shared import Bounds
from hurried_loop import LoopsClock, Watch, hurried

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 100000\r\n\r\n"
LATE = 1.5  # the edge looks once a second
FOR_EVER = 300


async def answer_of(reader: asyncio.StreamReader) -> list[int]:
    """Statuses of all that comes until the edge ends it."""
    data = b""
    async with asyncio.timeout(FOR_EVER):
        with contextlib.suppress(ConnectionResetError):
            while more := await reader.read(65_536):
                data += more
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


async def mute(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize(
    ("says", "handler", "answers", "seconds"),
    [
        pytest.param([b""], mute, [], 10, id="HEAD_SECONDS, nothing"),
        pytest.param([b"GET / HT"], mute, [408], 10, id="HEAD_SECONDS, half a head"),
        pytest.param([GET], answering(OK), [200], 75, id="KEEPALIVE_SECONDS"),
        pytest.param([POST], mute, [408], 20, id="BODY_MIN_RATE and PACE_SECONDS"),
        pytest.param([GET, None], mute, [], 30, id="HALF_CLOSED_SECONDS"),
    ],
)
@hurried
async def test_a_late_visitor_is_cut(
    says: list[bytes | None], handler: Handler, answers: list[int], seconds: float
) -> None:
    """EDGE_TICK_SECONDS too."""
    async with service(handler) as port, running_edge(port, bounds=Bounds(), clock=LoopsClock()) as rig:
        reader, writer = await rig.connect()
        watch = Watch()
        for said in says:
            if said is None:
                writer.write_eof()
            else:
                writer.write(said)
        assert await answer_of(reader) == answers
        assert watch.seconds > seconds - 0.1
        assert watch.skipped < seconds + 2 * LATE


@hurried
async def test_a_refused_visitor_may_send_for_two_seconds() -> None:
    """LINGER_SECONDS."""
    async with service(mute) as port, running_edge(port, bounds=Bounds(), clock=LoopsClock()) as rig:
        reader, writer = await rig.connect()
        writer.write(b"junk\r\n\r\n")
        assert await answer_of(reader) == [400]
        watch = Watch()
        async with asyncio.timeout(FOR_EVER):
            while rig.edge.connections:
                await asyncio.sleep(0.1)
        assert watch.seconds > 1.9
        assert watch.skipped < 2 + LATE


@pytest.mark.parametrize(
    ("last", "seconds"), [(False, 20), (True, 75)], ids=["READ_MIN_RATE and PACE_SECONDS", "CLOSE_SECONDS"]
)
@hurried
async def test_a_visitor_that_does_not_read_is_cut(last: bool, seconds: float) -> None:
    """The tunnel's stream is not read for it, or all that is left waits in the gateway."""
    size = 3_000_000 if last else 30_000_000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + bytes(size))
        await reader.read()

    async with service(handle) as port, running_edge(port, bounds=Bounds(), clock=LoopsClock()) as rig:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", rig.port))
            watch = Watch()
            await asyncio.get_running_loop().sock_sendall(client, CLOSING)
            async with asyncio.timeout(FOR_EVER):
                while not rig.edge.connections:
                    await asyncio.sleep(0)
                while rig.edge.connections:
                    await asyncio.sleep(0.5)
        assert watch.seconds > seconds - 0.1
        assert watch.skipped < seconds + 2 * LATE


@hurried
async def test_slow_visitors_have_five_seconds_once_half_of_the_places_are_taken() -> None:
    """CROWDED_PACE_SECONDS."""
    bounds = Bounds(visitors_per_tunnel=2)
    async with service(mute) as port, running_edge(port, bounds=bounds, clock=LoopsClock()) as rig:
        watch = Watch()
        for _ in range(2):
            (await rig.connect())[1].write(POST)
        async with asyncio.timeout(FOR_EVER):
            await rig.tunnel.visited_event.wait()  # one of them has gone, and there is no crowd any more
        assert watch.seconds > 4.9
        assert watch.skipped < 5 + 2 * LATE


@hurried
async def test_a_service_that_takes_a_connection_and_does_not_speak_tls_has_ten_seconds() -> None:
    """LOCAL_TLS_SECONDS."""
    async with (
        service(mute) as port,
        running_edge(port, bounds=Bounds(), clock=LoopsClock(), tls_upstream=True) as rig,
    ):
        reader, writer = await rig.connect()
        watch = Watch()
        writer.write(CLOSING)
        assert await answer_of(reader) == [502]
        assert watch.seconds > 9.9
        assert watch.skipped < 10 + LATE


@hurried
async def test_an_idle_stream_is_kept_for_four_seconds() -> None:
    """POOL_IDLE_SECONDS: Node closes a quiet connection after five."""
    async with service(answering(OK)) as port, running_edge(port, bounds=Bounds(), clock=LoopsClock()) as rig:
        reader, writer = await rig.connect()
        writer.write(CLOSING)
        assert await answer_of(reader) == [200]
        watch = Watch()
        async with asyncio.timeout(FOR_EVER):
            while rig.tunnel.streams:
                await asyncio.sleep(0.1)
        assert watch.seconds > 3.9
        assert watch.skipped < 5 + 0.2


@hurried
async def test_a_visitor_without_a_place_is_told_to_come_again_in_five_seconds() -> None:
    """RETRY_AFTER_SECONDS."""
    async with service(mute) as port, running_edge(port, bounds=Bounds(), clock=LoopsClock()) as rig:
        reader, writer = await rig.connect()
        writer.write(CLOSING.replace(b"a.", b"reserved."))
        async with asyncio.timeout(FOR_EVER):
            assert b"\r\nRetry-After: 5\r\n" in await reader.read()


@hurried
async def test_many_expired_visitors_are_cut_within_the_second() -> None:
    """CUT_PAUSE_SECONDS: an attack's thousand are gone before the next thousand."""
    async with service(mute) as port, running_edge(port, bounds=Bounds(), clock=LoopsClock()) as rig:
        watch = Watch()
        visitors = [await rig.connect() for _ in range(100)]
        for reader, _ in visitors:
            assert await answer_of(reader) == []
        assert watch.skipped < 10 + LATE + 1
