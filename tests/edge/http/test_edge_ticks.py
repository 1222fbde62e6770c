"""The edge's tick goes on after an error in the check of a visitor, and the end of the edge waits for its visitors."""

from __future__ import annotations

import asyncio
import socket
from itertools import pairwise
from typing import Any, cast

import pytest

from edge.http_play import Said, Stream, Transport, perform, played
from edge.http_rig import GET, OWN, Rig, running_edge, service
from ferry import limits
from ferry.edge.http.shared import Bounds
from ferry.streams import Sink
from hand_clock import HandClock
from resets import reset_at_close
from turns import timers, turns, until

CUT_IN_A_TURN = 8
PIPELINE_BYTES = 64 * 1024
VISITOR_HIGH_WATER_BYTES = 64 * 1024
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 1000\r\n\r\n"


async def test_a_visitor_cut_between_two_turns_of_a_tick_does_not_delay_the_next(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Uploads that the service does not take, while many others are parted with, a few at a time."""
    monkeypatch.setattr(limits, "CUT_PAUSE_SECONDS", 0.05)
    streams: list[Stream] = []

    def dial(_grant: object, _originator: object, sink: Sink) -> Stream:
        streams.append(Stream(sink))
        return streams[-1]

    clock, late = HandClock(), 3 * CUT_IN_A_TURN
    bounds = Bounds(tick_seconds=0.05, linger_seconds=0.1, body_min_rate=0)
    async with running_edge(1, bounds=bounds, clock=clock) as rig, asyncio.timeout(10):
        monkeypatch.setattr(rig.tunnel, "dial", dial)
        for _ in range(8):
            _, writer = await rig.connect()
            writer.write(POST)
        await until(lambda: len(streams) >= 8)
        for stream in streams:
            stream.sink.pause_writing()
            stream.sink.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        slow = [await rig.connect() for _ in range(late)]
        await until(lambda: len(rig.edge.connections) >= 8 + late)
        clock.ahead += limits.HEAD_SECONDS + 1
        await until(lambda: len(rig.edge.connections) != 8 + late)
        for stream in streams:
            stream.sink.stream_lost(None)
        for reader, _ in slow:
            assert await reader.read() == b""
        await until(lambda: not rig.edge.connections)
    assert not caplog.records


async def test_a_visitor_that_does_not_read_our_pages_is_cut(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = HandClock()
    async with played(monkeypatch, clock=clock, bounds=Bounds(tick_seconds=0.01)) as (rig, visitor, transport, _):
        transport.reads = False
        while not visitor.write_paused:
            visitor.data_received(OWN)
        ticked = asyncio.Event()
        for seconds in (0.0, 2 * limits.PACE_SECONDS):
            clock.ahead += seconds
            ticked.clear()
            asyncio.get_running_loop().call_later(0.05, ticked.set)
            await ticked.wait()
        assert transport.ends == ["abort"]
        assert len(rig.edge.connections) == 1  # nobody has told that it has gone
    assert not caplog.records


@pytest.mark.parametrize(
    ("said", "watched"),
    [([POST, "full"], False), ([GET, "end"], False), ([POST], True)],
    ids=["not read", "ended", "read"],
)
async def test_the_edge_looks_for_the_reset_of_a_visitor_that_the_loop_does_not_watch(
    said: Said, watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And for nobody else's: that is a system call for each visitor in each tick."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    asked: list[str] = []

    def get_extra_info(name: str, _default: object = None) -> object:
        asked.append(name)
        return ours if name == "socket" else None

    with ours:
        reset_at_close(theirs)
        theirs.close()
        async with played(monkeypatch, bounds=Bounds(tick_seconds=0.01)) as (_, visitor, transport, streams):
            monkeypatch.setattr(transport, "get_extra_info", get_extra_info)
            perform(said, visitor, transport, streams)
            if watched:
                await timers(0.05)
                assert asked == []
            else:
                async with asyncio.timeout(5):
                    await until(lambda: transport.ends)
                assert transport.ends == ["abort"]


async def test_a_visitor_that_sends_requests_without_reading_is_not_read_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And gets every answer when it reads."""
    asked = OWN
    async with played(monkeypatch) as (_, visitor, transport, _), asyncio.timeout(10):
        visitor.data_received(asked)
        page = len(transport.written)
        transport.reads = False
        sent = 1
        while transport.is_read and sent * len(asked) < 10 * (VISITOR_HIGH_WATER_BYTES + PIPELINE_BYTES):
            visitor.data_received(asked * 30)
            sent += 30
        assert not transport.is_read
        assert transport.waiting <= VISITOR_HIGH_WATER_BYTES + page
        transport.reads = True
        transport.take_all()
        await until(lambda: transport.is_read)
        assert len(transport.written) == sent * page


async def test_many_expired_visitors_leave_others_their_turns() -> None:
    clock, many = HandClock(), 5 * CUT_IN_A_TURN
    async with running_edge(1, bounds=Bounds(tick_seconds=0.01), clock=clock) as rig, asyncio.timeout(10):
        transports = []
        for _ in range(many):
            visitor = rig.edge.protocol(secure=False, port=80)
            transports.append(Transport(visitor))
            visitor.connection_made(cast(Any, transports[-1]))
        clock.ahead += limits.HEAD_SECONDS + 1
        parted = [0]
        while parted[-1] < many:
            await turns()
            parted.append(sum(bool(transport.ends) for transport in transports))
        assert max(after - before for before, after in pairwise(parted)) == CUT_IN_A_TURN
        for transport in transports:
            transport.protocol.connection_lost(None)


def arrive(rig: Rig) -> Transport:
    """A visitor that sends nothing."""
    visitor = rig.edge.protocol(secure=False, port=80)
    transport = Transport(visitor)
    visitor.connection_made(cast(Any, transport))
    return transport


async def test_a_failed_check_cuts_its_visitor_and_the_next_deadline_is_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The session of the tunnel's owner fails when it is told of a visit that was too slow."""
    clock = HandClock()

    def fails(_visit: object) -> None:
        raise ZeroDivisionError

    async with played(monkeypatch, clock=clock, bounds=Bounds(tick_seconds=0.001)) as (rig, visitor, transport, _):
        monkeypatch.setattr(rig.tunnel, "visited", fails)
        visitor.data_received(POST)
        looked = clock.monotonic()

        def a_little_later() -> list[str]:
            clock.ahead += limits.PACE_SECONDS / 10
            return transport.ends

        await until(a_little_later, every=0.005)
        assert transport.ends == ["abort"]
        assert clock.monotonic() < looked + 10 * limits.PACE_SECONDS
        silent = arrive(rig)
        clock.ahead += limits.HEAD_SECONDS + 1
        await until(lambda: silent.ends)
        silent.protocol.connection_lost(None)
    (record,) = caplog.records
    assert record.getMessage() == "ended a connection: its check failed"


async def test_an_idle_stream_that_cannot_be_closed_leaves_the_deadlines_in_force(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[bool] = []

    def fails() -> None:
        closed.append(True)
        raise ZeroDivisionError

    clock = HandClock()
    async with played(monkeypatch, clock=clock, bounds=Bounds(tick_seconds=0.001)) as (rig, visitor, _, streams):
        visitor.data_received(GET)
        streams[0].sink.data_received(OK)
        monkeypatch.setattr(streams[0], "close", fails)
        clock.ahead += limits.POOL_IDLE_SECONDS + 1
        await until(lambda: closed)
        silent = arrive(rig)
        clock.ahead += limits.HEAD_SECONDS + 1
        await until(lambda: silent.ends)
        silent.protocol.connection_lost(None)
        assert len(closed) == 1
    (record,) = caplog.records
    assert record.getMessage() == "could not close an idle stream"


async def test_a_stopping_edge_cuts_all_other_visitors_after_a_failed_cut(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[bool] = []

    def fails() -> None:
        tried.append(True)
        raise ZeroDivisionError

    async with running_edge(1) as rig:
        transports = [arrive(rig) for _ in range(5)]
        for transport in transports[1:4]:
            monkeypatch.setattr(transport, "abort", fails)
        rig.edge.close()
        assert [transport.ends for transport in transports] == [["abort"], [], [], [], ["abort"]]
        for transport in transports:
            transport.protocol.connection_lost(None)
    assert len(tried) == len(caplog.records) == 3


async def test_a_stopping_edge_waits_for_its_first_request() -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"/slow" in head:
                asked.set()
                await go.wait()
            writer.write(OK)

    async with service(slow) as port, running_edge(port) as rig, asyncio.timeout(10):
        assert await rig.talk(GET, eof=True) == OK
        await until(lambda: not rig.edge.connections)
        reader, writer = await rig.connect()
        writer.write(GET.replace(b"/ ", b"/slow ", 1))
        await asked.wait()
        draining = asyncio.ensure_future(rig.edge.drain(60))
        go.set()
        assert (await reader.read()).endswith(b"ok")
        await draining
