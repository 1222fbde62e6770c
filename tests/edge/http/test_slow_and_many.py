"""Visitors that send or read too slowly, and too many of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest

from edge.http_rig import GET, Rig, answering, gone, pause_reading, running_edge, service, statuses
from edge.tcp_tunnel import small_visitor
from ferry import limits
from ferry.edge.connections import Connections
from ferry.edge.descriptors import DescriptorGate
from ferry.edge.http.backend import Backend
from ferry.edge.http.pace import Pace
from ferry.edge.http.shared import Bounds
from ferry.limiters.connection_limiter import ConnectionLimiter
from ferry.limiters.shortage import Standing
from ferry.limiters.sources import ExemptNetworks
from ferry.names import Endpoint
from ferry.report import no_report
from ferry.send_queue import unacknowledged
from hand_clock import HandClock
from resets import reset
from turns import timers, until

CUT_IN_A_TURN = 8
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: %d\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PACED = Bounds(body_min_rate=1000, read_min_rate=1000, pace_seconds=0.2, tick_seconds=0.02, linger_seconds=0.1)
UPGRADE = b"GET / HTTP/1.1\r\nHost: a.localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


def backend(rig: Rig) -> Backend:
    return rig.edge.backends["a.localhost"]


def peer(writer: asyncio.StreamWriter) -> Endpoint:
    """Where the edge sees it."""
    return Endpoint(*writer.get_extra_info("sockname"))


async def uploads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads a request with its body of 2,000 bytes, then answers."""
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(2000)
    writer.write(OK)
    await reader.read()


def test_a_pace_is_measured_window_by_window() -> None:
    pace = Pace(100.0, 0)
    assert not pace.behind(109.9, 0, rate=10, window=10)  # the window is open
    assert not pace.behind(110.0, 100, rate=10, window=10)
    assert not pace.behind(119.0, 100, rate=10, window=10)  # a new one
    assert pace.behind(120.0, 199, rate=10, window=10)
    assert Pace(0.0, -500).behind(20.0, -400, rate=10, window=10)  # the tick came late: more is asked for
    assert not Pace(0.0, 0).behind(1000.0, 0, rate=0, window=10)  # nothing is asked for


async def test_a_slow_body_gets_408() -> None:
    async with service(uploads) as port, running_edge(port, bounds=PACED) as rig:
        reader, writer = await rig.connect()
        writer.write((POST % 2000) + b"x" * 500)  # a fast start does not help
        answer = await reader.read()
        assert statuses(answer) == [408]
        assert b"Connection: close\r\n" in answer
        await rig.tunnel.quiet()
        assert rig.tunnel.visits[0].note == "the request's body came too slowly"
        assert rig.edge.idle_streams == 0


async def test_a_slow_body_after_the_start_of_the_answer_is_cut() -> None:
    async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok")
        await reader.read()

    async with service(eager) as port, running_edge(port, bounds=PACED) as rig:
        reader, writer = await rig.connect()
        writer.write(POST % 2000)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await rig.tunnel.quiet()


def relayed(rig: Rig, size: int) -> bool:
    """Whether the service has got so many bytes of bodies."""
    return rig.tunnel.traffic.up >= size


async def test_a_body_at_the_rate_goes_through() -> None:
    clock = HandClock()
    bounds = replace(PACED, body_min_rate=10, pace_seconds=20)  # a busy machine's own second is nothing beside them
    async with service(uploads) as port, running_edge(port, bounds=bounds, clock=clock) as rig:
        reader, writer = await rig.connect()
        writer.write(POST % 2000)
        for sent in range(100, 2001, 100):
            writer.write(bytes(100))
            await until(partial(relayed, rig, sent))
            clock.ahead += 5  # 20 bytes a second
            await timers(2 * bounds.tick_seconds)
        assert await reader.readexactly(len(OK)) == OK
        assert rig.tunnel.visits[0].seconds > 2 * bounds.pace_seconds


async def test_waiting_for_100_continue_is_no_fault() -> None:
    async def slow_to_decide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(3 * PACED.pace_seconds)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await reader.read()

    async with service(slow_to_decide) as port, running_edge(port, bounds=PACED) as rig:
        reader, writer = await rig.connect()
        writer.write((POST % 5).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        # and once it has been given, the body is due
        assert statuses(await reader.read()) == [100, 408]


async def test_a_service_that_does_not_take_the_body_is_not_the_visitors_fault() -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pause_reading(writer)
        await asyncio.sleep(4 * PACED.pace_seconds)
        writer.transport.resume_reading()  # type: ignore[attr-defined]  # the same
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2**25)
        writer.write(OK)

    async with service(late) as port, running_edge(port, bounds=PACED) as rig:
        reader, writer = await rig.connect()
        writer.write(POST % 2**25)
        writer.write(b"x" * 2**25)
        await writer.drain()
        assert await reader.readexactly(len(OK)) == OK


@pytest.fixture
async def flooding() -> AsyncIterator[Rig]:
    """A service that answers `/events` with an event stream, upgrades, and else sends a large file."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"Upgrade" in head:
            writer.write(SWITCHING)
        else:
            writer.write(EVENTS if b"/events" in head else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 2**28)
        block = b"10000\r\n" + b"x" * 2**16 + b"\r\n"
        while True:
            writer.write(block)
            await writer.drain()

    async with service(flood) as port, running_edge(port, bounds=PACED) as rig:
        yield rig


async def test_a_slow_reader_is_cut(flooding: Rig) -> None:
    _, writer = await flooding.connect()
    pause_reading(writer)
    writer.write(GET)
    await flooding.visit()
    assert flooding.tunnel.visits[0].note == "the visitor read its answer too slowly"
    await flooding.tunnel.quiet()
    await until(lambda: not flooding.edge.connections)


async def test_a_reader_at_the_rate_is_served(flooding: Rig) -> None:
    reader, writer = await flooding.connect()
    writer.write(GET)
    for _ in range(30):
        await reader.readexactly(2**19)  # less than waits for it, more than the rate
        await asyncio.sleep(0.02)
    assert not flooding.tunnel.visits
    reset(writer)


@pytest.mark.parametrize("request_", [GET.replace(b"/ ", b"/events "), UPGRADE], ids=["events", "upgrade"])
async def test_streams_that_may_be_silent_have_no_pace(flooding: Rig, request_: bytes) -> None:
    _, writer = await flooding.connect()
    pause_reading(writer)
    writer.write(request_)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(flooding.tunnel.visited_event.wait(), 4 * PACED.pace_seconds)
    assert len(flooding.edge.connections) == 1
    _, other = await flooding.connect()
    pause_reading(other)
    other.write(GET)
    await flooding.visit()  # others are looked at as before
    assert flooding.tunnel.visits[0].note == "the visitor read its answer too slowly"
    await until(lambda: len(flooding.edge.connections) == 1)
    reset(writer)


async def test_requests_per_tunnel_are_bounded() -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(OK)
        await answering(OK)(reader, writer)

    bounds = Bounds(visitors_per_tunnel=2, linger_seconds=0.1, tick_seconds=0.05)
    async with service(slow) as port, running_edge(port, bounds=bounds) as rig:
        waiting = [await rig.connect() for _ in range(2)]
        for _, writer in waiting:
            writer.write(GET)
        await until(lambda: len(rig.tunnel.dialled) == 2)
        answer = await rig.talk(GET + GET, eof=True)
        assert statuses(answer) == [503, 503]  # and the connection goes on
        assert answer.count(b"Retry-After: 5\r\n") == 2
        assert rig.tunnel.visits[0].note == "the tunnel has too many requests at once"
        release.set()
        for reader, _ in waiting:
            assert await reader.readexactly(len(OK)) == OK
        assert backend(rig).places.in_use == 0
        assert statuses(await rig.talk(GET, eof=True)) == [200]


async def test_half_closed_requests_make_room_for_others() -> None:
    release, seen = asyncio.Event(), asyncio.Queue[bytes]()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.put_nowait(head.split()[1])
        if head.startswith(b"GET /quick"):
            writer.write(OK)
            head = await reader.readuntil(b"\r\n\r\n")
            seen.put_nowait(head.split()[1])
        await release.wait()
        writer.write(OK)
        await reader.read()

    def get(path: bytes) -> bytes:
        return GET.replace(b"/ ", path + b" ", 1)

    bounds = Bounds(visitors_per_tunnel=3, linger_seconds=0.1, tick_seconds=0.05)
    async with service(slow) as port, running_edge(port, bounds=bounds) as rig, asyncio.timeout(10):
        # ended before its second request was sent on, ended while it waited, and one that listens for certain
        first, writer = await rig.connect()
        writer.write(get(b"/quick") + get(b"/one") + get(b"/behind"))
        writer.write_eof()
        assert [await seen.get(), await seen.get()] == [b"/quick", b"/one"]
        second, writer = await rig.connect()
        writer.write(get(b"/two"))
        assert await seen.get() == b"/two"
        writer.write_eof()
        staying, writer = await rig.connect()
        writer.write(get(b"/stays"))
        assert await seen.get() == b"/stays"
        await until(lambda: sum(visitor.ended for visitor in rig.edge.connections) == 2)

        for reader, begun in ((first, [200, 503]), (second, [503])):
            newer, writer = await rig.connect()
            writer.write(get(b"/newer"))
            assert await seen.get() == b"/newer"
            answer = await reader.read()  # to its end: what was pipelined behind takes no place again
            assert statuses(answer) == begun
            assert b"Connection: close\r\n" in answer
            assert rig.tunnel.visits[-1].note.endswith("this one lost its place to another visitor")
        assert backend(rig).places.in_use == 3
        assert statuses(await rig.talk(GET, eof=True)) == [503]  # nobody left to go
        release.set()
        assert await staying.readexactly(len(OK)) == OK
        assert await newer.readexactly(len(OK)) == OK
        await until(lambda: backend(rig).places.in_use == 0)


async def test_slow_reading_counts_before_the_kernel_takes_more() -> None:
    async def much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            writer.write(bytes(100_000))
            await writer.drain()

    loop = asyncio.get_running_loop()
    async with service(much) as port, running_edge(port) as rig, asyncio.timeout(10):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", rig.port))
            await loop.sock_sendall(client, GET)
            await until(lambda: any(visitor.write_paused for visitor in rig.edge.connections))
            (visitor,) = rig.edge.connections
            looks: list[tuple[int, int]] = []

            def nothing_is_under_way() -> bool:
                looks.append((visitor.transport.get_write_buffer_size(), unacknowledged(visitor.transport)))
                return len(looks) > 10 and len(set(looks[-10:])) == 1

            await until(nothing_is_under_way)
            here, untaken = looks[-1]
            assert untaken > here
            for _ in range(20):
                await loop.sock_recv(client, 1024)
            await until(lambda: unacknowledged(visitor.transport) <= untaken - 1024)
            assert visitor.transport.get_write_buffer_size() == here
        await until(lambda: not rig.edge.connections)


async def test_a_visitor_that_does_not_read_its_last_answer_loses_its_descriptor_at_once() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000))

    clock = HandClock()
    gate = DescriptorGate(report=no_report, most=10_000, count=lambda: 8_600)
    connections = Connections(gate, ExemptNetworks([]), clock)
    async with service(handle) as port, running_edge(port, clock=clock, connections=connections) as rig:
        for _ in range(2):
            _, writer = await rig.connect("127.0.1.1")
            pause_reading(writer)
            while not any(
                one.transport.get_write_buffer_size() for one in rig.edge.connections if one.peer == peer(writer)
            ):
                writer.write(GET)
                await rig.visit()
        gate.seen(8_600)
        clock.ahead += 1
        await rig.connect("127.0.9.8")
        await until(lambda: len(rig.edge.connections) == 3)
        clock.ahead += 1
        await rig.connect("127.0.9.9")
        await until(lambda: len(rig.edge.connections) == 3)
        gate.close()


async def test_no_more_are_displaced_than_descriptors_are_missing() -> None:
    """They are counted four times a second, and more newcomers than that may come between two counts."""
    clock = HandClock()
    gate = DescriptorGate(report=no_report, most=10_000, count=lambda: 8_001)
    connections = Connections(gate, ExemptNetworks([]), clock)
    async with service(answering(OK)) as port, running_edge(port, clock=clock, connections=connections) as rig:
        idle = [await rig.connect("127.0.1.1") for _ in range(10)]
        gate.seen(8_500)
        await rig.connect("127.0.9.8")  # a shortage begins
        clock.ahead += 1
        await until(lambda: gate.excess <= 2)  # since 8,001 were counted
        for number in range(20, 30):
            _, writer = await rig.connect(f"127.0.9.{number}")
            writer.write(GET)
            await rig.visit()
            await gone(writer)
            await until(lambda: len(rig.edge.connections) <= 10)
        await until(lambda: len(rig.edge.connections) < 10)
        assert [reader.at_eof() for reader, _ in idle].count(True) == 2
        gate.close()


async def test_slow_visitors_are_cut_sooner_in_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CROWDED_PACE_SECONDS", 0.2)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"/much" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    while True:
                        writer.write(bytes(100_000))
                        await writer.drain()
            elif b"POST" in head:
                await reader.read()
            writer.write(OK)

    bounds = Bounds(visitors_per_tunnel=4, linger_seconds=0.1, tick_seconds=0.05)
    async with service(handle) as port, running_edge(port, bounds=bounds) as rig, asyncio.timeout(10):
        sending, deaf = await rig.connect(), await rig.connect()
        sending[1].write((POST % 1000) + b"x")
        deaf[1].write(GET.replace(b"/ ", b"/much ", 1))  # nobody reads, and StreamReader buffers little
        await until(lambda: bool(rig.edge.backends) and backend(rig).places.in_use == 2)
        await asyncio.sleep(0.5)  # longer than the window for crowds
        assert backend(rig).places.in_use == 2  # half of the places: no crowd
        third = await rig.connect()
        third[1].write((POST % 1000) + b"x")
        await until(lambda: len(rig.tunnel.visits) == 1)  # one of them has gone,
        assert backend(rig).places.in_use == 2  # and there is no crowd any more
        assert rig.tunnel.visits[0].note in (
            "the request's body came too slowly",
            "the visitor read its answer too slowly",
        )
        assert statuses(await rig.talk(GET, eof=True)) == [200]
        for _, writer in (sending, deaf, third):
            reset(writer)
        await until(lambda: backend(rig).places.in_use == 0)


async def test_a_half_closed_request_is_answered_while_there_is_room() -> None:
    async with service(answering(OK)) as port, running_edge(port) as rig:
        assert statuses(await rig.talk(GET + GET, eof=True)) == [200, 200]


async def test_a_half_closed_visitor_with_two_requests_has_a_deadline() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()

    bounds = Bounds(half_closed_seconds=0.2, linger_seconds=0.1, tick_seconds=0.02)
    async with service(once) as port, running_edge(port, bounds=bounds) as rig:
        reader, writer = await rig.connect()
        writer.write(GET + GET)
        writer.write_eof()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 10)
        await until(lambda: backend(rig).places.in_use == 0)


async def test_uploads_and_upgrades_have_places_too() -> None:
    bounds = Bounds(visitors_per_tunnel=3, linger_seconds=0.1, tick_seconds=0.05)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"Upgrade" in head:
                writer.write(SWITCHING)
                await reader.read()
                return
            if b"POST" in head:
                await reader.readexactly(2000)
            writer.write(OK)

    async with service(handle) as port, running_edge(port, bounds=bounds) as rig:
        upgraded, raw = await rig.connect()
        raw.write(UPGRADE)
        await upgraded.readuntil(b"\r\n\r\n")
        sending = [await rig.connect() for _ in range(2)]
        for _, writer in sending:
            writer.write((POST % 2000) + b"x")
        await until(lambda: backend(rig).places.in_use == 3)
        assert statuses(await rig.talk(GET, eof=True)) == [503]
        for reader, writer in sending:
            writer.write(b"x" * 1999)
            assert await reader.readexactly(len(OK)) == OK
        assert statuses(await rig.talk(GET, eof=True)) == [200]
        reset(raw)
        await rig.tunnel.quiet()
        assert backend(rig).places.in_use == 0


async def test_counts_are_right_after_each_kind_of_end() -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Breaks off, answers early, answers nonsense, or not at all, as the path says."""
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/early" in head or b"/ok" in head:
            writer.write(OK)
        elif b"/half" in head:
            writer.write(OK[:-1])
        elif b"/junk" in head:
            writer.write(b"junk\r\n\r\n")
        elif b"/hang" in head:
            await reader.read()

    async with service(odd) as port, running_edge(port, bounds=PACED) as rig:
        for path in (b"/ok", b"/half", b"/junk", b"/close", b"/hang"):
            for request in (GET, (POST % 5) + b"hello", (POST % 5) + b"hell"):
                reader, writer = await rig.connect()
                writer.write(request.replace(b"/ ", path + b" ", 1))
                if path == b"/hang":
                    await until(lambda: backend(rig).places.in_use > 0)
                    reset(writer)
                else:
                    await reader.read(1)
                    writer.close()
        await until(lambda: not rig.edge.connections and not backend(rig).places.in_use)
        assert backend(rig).places.in_use == 0


async def test_one_visitor_too_many_gets_503() -> None:
    limiter = ConnectionLimiter(2, ExemptNetworks([]))  # tests have no other address than loopback
    async with service(answering(OK)) as port, running_edge(port, limiter=limiter) as rig:
        held = [await rig.connect() for _ in range(2)]
        for reader, writer in held:
            writer.write(GET)
            assert await reader.readexactly(len(OK)) == OK
        answer = await rig.talk(b"")
        assert statuses(answer) == [503]
        assert b"Retry-After: 5\r\n" in answer
        assert b"Connection: close\r\n" in answer
        for _, writer in held:
            reset(writer)
        await until(lambda: not rig.edge.connections)
        assert statuses(await rig.talk(GET, eof=True)) == [200]


@pytest.mark.usefixtures("one_of_many_unsent")
async def test_one_of_many_that_does_not_read_takes_little_now_and_all_later() -> None:
    """Loopback's own buffers take megabytes before they ask for no more."""
    size = 8 * limits.MIB
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size

    async def much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(head + bytes(size))
            await writer.drain()

    async with service(much) as port, running_edge(port) as rig, asyncio.timeout(20):
        loop = asyncio.get_running_loop()
        async with small_visitor(rig.port) as visitor:
            for _ in range(2):  # the second request comes on the same connections
                before, answer = rig.tunnel.traffic.down, bytearray()
                await loop.sock_sendall(visitor, GET)
                assert await rig.tunnel.at_rest(before) <= limits.MIB
                while len(answer) < len(head) + size:
                    answer += await loop.sock_recv(visitor, 65536)
                assert answer == head + bytes(size)
        assert len(rig.tunnel.dialled) == 1


async def test_many_expired_visitors_are_cut_a_few_in_each_turn_of_the_loop() -> None:
    """Eight hundred at once held up everybody for 28 ms."""
    many = 5 * CUT_IN_A_TURN
    loop, turns = asyncio.get_running_loop(), [0]
    bounds = Bounds(head_seconds=0.3, linger_seconds=0.2, tick_seconds=0.6)
    async with service(answering(OK)) as port, running_edge(port, bounds=bounds) as rig:

        def in_each_turn() -> None:
            turns.append(sum(event == "edge.refused" for event, _ in rig.reports))
            if turns[-1] < many:
                loop.call_soon(in_each_turn)

        slow = [await rig.connect() for _ in range(many)]
        for _, writer in slow:
            writer.write(b"GET / HTTP/1.1\r\nHost")
        in_each_turn()
        async with asyncio.timeout(10):
            for reader, _ in slow:
                assert statuses(await reader.read()) == [408]
        assert turns[-1] == many
        assert max(after - before for before, after in pairwise(turns)) <= CUT_IN_A_TURN


async def test_a_pause_in_an_answer_cuts_no_listening_visitor() -> None:
    """Only of one that has sent end-of-file it is not known."""
    go_on = asyncio.Event()

    async def in_two(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK[:-1])
        await go_on.wait()
        writer.write(OK[-1:])

    bounds = Bounds(half_closed_seconds=0.1, tick_seconds=0.02, linger_seconds=0.1)
    async with service(in_two) as port, running_edge(port, bounds=bounds) as rig, asyncio.timeout(10):
        reader, writer = await rig.connect()
        writer.write(GET)
        assert await reader.readexactly(len(OK) - 1) == OK[:-1]
        gone_by_then, other = await rig.connect()
        other.write(GET)
        assert await gone_by_then.readexactly(len(OK) - 1) == OK[:-1]
        other.write_eof()
        with contextlib.suppress(ConnectionError):
            assert not await gone_by_then.read()
        go_on.set()
        assert await reader.readexactly(1) == OK[-1:]


async def test_an_upload_that_waits_for_its_service_is_not_stalled() -> None:
    async def deaf(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.Event().wait()

    async with service(deaf) as port, running_edge(port) as rig, asyncio.timeout(10):
        _, writer = await rig.connect()
        writer.write(POST % 100_000_000)
        (visitor,) = rig.edge.connections
        while not visitor.read_paused:
            writer.write(bytes(100_000))
            await asyncio.sleep(0)
        assert visitor.standing()[0] is Standing.WAITING
        reset(writer)
