"""The ends that a visitor's connection may have: half-closed, too late, while the gateway stops, and after an upgrade."""

from __future__ import annotations

import asyncio
import socket

import pytest

from edge.http_rig import CLOSING, GET, OWN, answering, pause_reading, running_edge, service, statuses
from ferry.edge.http.shared import Bounds
from hand_clock import HandClock
from resets import reset
from turns import until

PIPELINE_BYTES = 64 * 1024
KEEPALIVE_SECONDS = 75.0
LINGER_SECONDS = 2.0
CLOSE_SECONDS = 75.0
HALF_CLOSED_SECONDS = 30.0
HEAD_SECONDS = 10.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = OK.replace(b"\r\n\r\nok", b"\r\nConnection: close\r\n\r\nok")
POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: %d\r\n\r\n"
UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
QUICK = Bounds(tick_seconds=0.01, linger_seconds=0.1)


async def left_unsent(writer: asyncio.StreamWriter) -> int:
    """Bytes that the edge does not take: what stays once nothing moves any more, which no event tells."""
    looks: list[int] = []
    while len(looks) < 6 or len(set(looks[-6:])) > 1:
        await asyncio.sleep(0.1)
        looks.append(writer.transport.get_write_buffer_size())
    return looks[-1]


async def test_a_visitor_that_ended_and_reads_slowly_gets_all_answers() -> None:
    body = bytes(50_000)
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    loop = asyncio.get_running_loop()
    async with service(answering(large)) as port, running_edge(port) as rig, asyncio.timeout(20):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", rig.port))
            await loop.sock_sendall(client, GET * 400)  # 20 MB: more than any buffer between
            answered = -1
            while answered != len(rig.tunnel.visits):  # until nothing moves any more
                answered = len(rig.tunnel.visits)
                await asyncio.sleep(0.1)
            client.shutdown(socket.SHUT_WR)
            got = 0
            while data := await loop.sock_recv(client, 2**20):
                got += len(data)
        assert got == 400 * len(large)


async def test_a_visitor_that_reads_no_answers_is_not_read() -> None:
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000)
    async with service(answering(large)) as port, running_edge(port) as rig:
        _, writer = await rig.connect()
        pause_reading(writer)
        writer.write(GET * 500)  # 25 MB of answers: more than any buffer between, and few bytes to ask for them
        answered = -1
        while answered != len(rig.tunnel.visits):
            answered = len(rig.tunnel.visits)
            await asyncio.sleep(0.1)
        assert answered < 500
        writer.write(GET * 800_000)  # 30 MB
        assert await left_unsent(writer) > 2**23  # the rest is in the kernel's buffers, and 64 KiB with the edge
        reset(writer)
        await rig.tunnel.quiet()


async def test_a_body_that_the_service_does_not_take_is_not_read_from_the_visitor() -> None:
    hang = asyncio.Event()

    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pause_reading(writer)
        await hang.wait()

    async with service(deaf) as port, running_edge(port) as rig:
        _, writer = await rig.connect()
        writer.write((POST % 2**25) + bytes(2**25))
        assert await left_unsent(writer) > 2**23
        reset(writer)
        await rig.tunnel.quiet()


async def test_a_visitor_with_too_many_pipelined_requests_gets_all_answers() -> None:
    go = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(OK)

    count = 3 * PIPELINE_BYTES // len(GET)
    async with service(slow) as port, running_edge(port) as rig, asyncio.timeout(20):
        reader, writer = await rig.connect()
        writer.write(GET)
        await until(lambda: rig.tunnel.streams)
        writer.write(GET * count)
        await until(lambda: not writer.transport.get_write_buffer_size())
        await asyncio.sleep(0.05)  # the edge reads as much as it will
        go.set()
        for _ in range(count + 1):
            assert await reader.readexactly(len(OK)) == OK
        writer.write_eof()
        assert await reader.read() == b""


async def test_a_visitor_that_does_not_read_the_last_bytes_is_cut_in_time() -> None:
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000)
    clock, bounds = HandClock(), Bounds(tick_seconds=0.01, read_min_rate=0)
    async with service(answering(large)) as port, running_edge(port, bounds=bounds, clock=clock) as rig:
        _, writer = await rig.connect()
        pause_reading(writer)
        writer.write(GET * 500)
        looks: list[int] = []
        while len(looks) < 6 or len(set(looks[-6:])) > 1:  # until nothing moves any more
            await asyncio.sleep(0.1)
            looks.append(len(rig.tunnel.visits))
        for seconds in (KEEPALIVE_SECONDS, LINGER_SECONDS, CLOSE_SECONDS):
            assert len(rig.edge.connections) == 1
            clock.ahead += seconds + 1
            await asyncio.sleep(0.1)  # some ticks
        await until(lambda: not rig.edge.connections)


async def test_a_reset_after_a_half_close_is_noticed_while_the_service_is_silent() -> None:
    """The loop watches its socket for nothing then."""
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()

    bounds = Bounds(tick_seconds=0.01, half_closed_seconds=600)
    async with service(silent) as port, running_edge(port, bounds=bounds) as rig, asyncio.timeout(10):
        _, writer = await rig.connect()
        writer.write(GET)
        await asked.wait()
        writer.write_eof()
        assert statuses(await rig.talk(OWN, eof=True)) == [404]  # the edge has seen the end by now
        reset(writer)
        await rig.visit()
        assert [visit.note for visit in rig.tunnel.visits] == ["the visitor left"]


async def test_a_half_closed_visitor_has_a_deadline() -> None:
    clock, asked, hang = HandClock(), asyncio.Event(), asyncio.Event()

    async def mute(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await hang.wait()

    async with service(mute) as port, running_edge(port, bounds=QUICK, clock=clock) as rig, asyncio.timeout(10):
        reader, writer = await rig.connect()
        writer.write(GET)
        await asked.wait()
        clock.ahead += 10 * HALF_CLOSED_SECONDS  # who has not half-closed waits as long as it likes
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        writer.write_eof()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        clock.ahead += HALF_CLOSED_SECONDS + 1
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await rig.tunnel.quiet()
        assert rig.tunnel.visits[0].note == "the visitor left"


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n"], ids=["nothing", "half a head"])
async def test_a_head_has_a_deadline_from_the_accept_and_from_its_first_byte(sent: bytes) -> None:
    clock = HandClock()
    async with service(answering(OK)) as port, running_edge(port, bounds=QUICK, clock=clock) as rig:
        for begin in (b"", GET):
            reader, writer = await rig.connect()
            writer.write(begin)
            assert await reader.readexactly(len(OK) if begin else 0) == (OK if begin else b"")
            if begin:
                clock.ahead += KEEPALIVE_SECONDS - HEAD_SECONDS - 5  # idle, and within its time
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.1)
            writer.write(sent)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.1)
            clock.ahead += HEAD_SECONDS + 1
            if begin and not sent:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.1)
                clock.ahead += HEAD_SECONDS
            async with asyncio.timeout(10):
                assert statuses(await reader.read()) == ([408] if sent else [])


async def test_more_packets_of_a_head_do_not_extend_its_deadline() -> None:
    clock, bounds = HandClock(), Bounds(tick_seconds=0.01, linger_seconds=0.1, head_seconds=1000)
    async with service(answering(OK)) as port, running_edge(port, bounds=bounds, clock=clock) as rig:
        reader, writer = await rig.connect()
        writer.write(GET)
        await reader.readexactly(len(OK))
        for piece in (b"GET / HT", b"TP/1.1\r\n", b"Host: a"):
            writer.write(piece)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.05)
            clock.ahead += 400
        async with asyncio.timeout(10):
            assert statuses(await reader.read()) == [408]


async def test_a_request_sent_while_the_gateway_stops_is_the_last() -> None:
    async with service(answering(OK)) as port, running_edge(port, bounds=QUICK) as rig, asyncio.timeout(10):
        reader, writer = await rig.connect()
        other, others = await rig.connect()
        writer.write(GET + GET[:10])
        others.write(GET.replace(b"a.", b"nobody.") + GET[:10])
        assert await reader.readexactly(len(OK)) == OK
        await other.readuntil(b"\r\n\r\n")
        draining = asyncio.ensure_future(rig.edge.drain(60))
        await asyncio.sleep(0)  # it has begun
        assert not draining.done()
        writer.write(GET[10:] + GET)
        others.write(GET[10:].replace(b"a.", b"nobody.") + GET)
        assert await reader.read() == LAST
        assert statuses(await other.read()) == [404]
        await draining
        await rig.tunnel.quiet()


async def test_a_stopping_edge_waits_for_a_request_and_cuts_it_at_its_deadline() -> None:
    asked = asyncio.Event()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK[:-1])
        asked.set()
        await reader.read()

    async with service(half) as port, running_edge(port, bounds=QUICK) as rig, asyncio.timeout(10):
        reader, writer = await rig.connect()
        writer.write(GET)
        await asked.wait()
        assert await reader.readexactly(len(OK) - 1) == OK[:-1]
        await rig.edge.drain(0.05)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await rig.tunnel.quiet()


async def test_an_upgraded_connection_closes_after_both_ends_though_the_visitor_does_not_read() -> None:
    clock = HandClock()

    async def says_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING + b"bye")
        writer.write_eof()
        await reader.read()

    async with service(says_all) as port, running_edge(port, bounds=QUICK, clock=clock) as rig, asyncio.timeout(10):
        reader, writer = await rig.connect()
        writer.write(UPGRADE)
        assert await reader.read() == SWITCHING + b"bye"
        clock.ahead += 1000  # silence is part of it
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(rig.tunnel.visited_event.wait(), 0.1)
        writer.write_eof()
        await rig.visit()
        await rig.tunnel.quiet()
        await until(lambda: not rig.edge.connections)
        assert rig.tunnel.visits[0].note == ""


async def test_a_reset_of_an_upgraded_connection_ends_the_services_stream() -> None:
    ended = asyncio.Event()

    async def listens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING)
        try:
            await reader.read()
        finally:
            ended.set()

    async with service(listens) as port, running_edge(port) as rig, asyncio.timeout(10):
        reader, writer = await rig.connect()
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        reset(writer)
        await ended.wait()
        await rig.visit()
        assert rig.tunnel.visits[0].note == "the visitor left"


async def test_bytes_after_a_refused_head_are_read_and_dropped_for_a_moment() -> None:
    async with service(answering(OK)) as port, running_edge(port, bounds=Bounds(linger_seconds=60)) as rig:
        reader, writer = await rig.connect()
        writer.write(b"junk\r\n\r\n")
        assert statuses(await reader.read()) == [400]  # with an end-of-file behind it, while we may go on
        async with asyncio.timeout(10):
            for _ in range(20):
                writer.write(bytes(2**20))
                await writer.drain()  # more than any buffer between: it is read
        assert len(rig.edge.connections) == 1
        writer.write_eof()
        await until(lambda: not rig.edge.connections)
        assert not rig.tunnel.visits


async def test_an_answer_to_a_request_with_close_closes_at_once() -> None:
    async with service(answering(OK)) as port, running_edge(port, bounds=Bounds(linger_seconds=60)) as rig:
        assert await rig.talk(CLOSING) == LAST
        await until(lambda: not rig.edge.connections)  # not after it has lingered


async def test_bodies_that_stop_in_the_middle_leave_no_stream() -> None:
    got = asyncio.Event()

    async def reads(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        got.set()
        await reader.read()

    async with service(reads) as port, running_edge(port, bounds=QUICK) as rig, asyncio.timeout(10):
        _, writer = await rig.connect()
        writer.write((POST % 10) + b"hello")
        await got.wait()
        writer.write_eof()  # as good as gone: what it began cannot be ended
        await rig.visit()
        await rig.tunnel.quiet()
        assert rig.edge.idle_streams == 0


async def test_a_refused_visitor_that_does_not_close_is_closed_in_good_order() -> None:
    loop = asyncio.get_running_loop()
    async with service(answering(OK)) as port, running_edge(port, bounds=QUICK) as rig, asyncio.timeout(10):
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", rig.port))
            await loop.sock_sendall(client, b"junk\r\n\r\n")
            await until(lambda: rig.edge.connections)
            await until(lambda: not rig.edge.connections)
            answer = b""
            while data := await loop.sock_recv(client, 65536):  # never a reset
                answer += data
            assert statuses(answer) == [400]
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


async def test_bytes_after_an_upgrade_wait_while_the_service_does_not_read() -> None:
    hang = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING)
        pause_reading(writer)
        await hang.wait()

    async with service(deaf) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(bytes(2**25))
        assert await left_unsent(writer) > 2**23
        reset(writer)
        await rig.tunnel.quiet()
