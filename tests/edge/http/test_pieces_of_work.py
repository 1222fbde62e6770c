"""A visitor or a service with many small pieces takes turns with the others."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, cast

import pytest

from edge.http_play import Stream, Transport
from edge.http_rig import GET, HOST, OWN, Rig, running_edge
from ferry.edge.http.h1 import H1Connection
from ferry.edge.http.round import Round
from turns import turns, until

REQUESTS_IN_A_PIECE, CHUNKS_IN_A_PIECE, PIECES_IN_A_TURN = 32, 128, 4
MANY = 50  # pieces of work
SECONDS = 10
ASK = OWN
CHUNKED_POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNK, LAST = b"1\r\nx\r\n", b"0\r\n\r\n"


class Streams(list[Stream]):
    def dial(self, _grant: object, _originator: object, sink: Any) -> Stream:
        self.append(Stream(sink))
        return self[-1]


def visitor_of(rig: Rig) -> tuple[H1Connection, Transport]:
    visitor = rig.edge.protocol(secure=False, port=80)
    transport = Transport(visitor)
    visitor.connection_made(cast(Any, transport))
    return visitor, transport


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    """What is dialled is in the test's hand."""
    streams = Streams()
    monkeypatch.setattr("edge.tcp_tunnel.TcpTunnel.dial", lambda _, *arguments: streams.dial(*arguments))
    return streams


async def test_pipelined_requests_are_answered_in_order_a_few_in_a_turn() -> None:
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitors = [visitor_of(rig) for _ in range(2 * PIECES_IN_A_TURN)]
        for visitor, transport in visitors:
            visitor.data_received(ASK * (MANY * REQUESTS_IN_A_PIECE))
            assert not transport.is_read
        answered = [len(rig.reports)]
        while len(rig.reports) < len(visitors) * MANY * REQUESTS_IN_A_PIECE:
            await turns()
            answered.append(len(rig.reports))
        in_turns = [after - before for before, after in pairwise(answered)]
        assert answered[0] == len(visitors) * REQUESTS_IN_A_PIECE
        assert max(in_turns) <= PIECES_IN_A_TURN * REQUESTS_IN_A_PIECE
        await until(lambda: all(transport.is_read for _, transport in visitors))
        for visitor, transport in visitors:
            assert transport.written.count(b"HTTP/1.1 404 ") == MANY * REQUESTS_IN_A_PIECE
            visitor.connection_lost(None)


async def test_a_newcomer_does_not_wait_for_pipelined_requests_of_others() -> None:
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        busy, transport = visitor_of(rig)
        busy.data_received(ASK * (MANY * REQUESTS_IN_A_PIECE))
        other, its = visitor_of(rig)
        other.data_received(ASK)
        assert its.written.count(b"HTTP/1.1 404 ") == 1
        assert transport.written.count(b"HTTP/1.1 404 ") == REQUESTS_IN_A_PIECE
        for visitor in (busy, other):
            visitor.connection_lost(None)
        reports = len(rig.reports)
        await turns(3)
        assert len(rig.reports) == reports  # nothing is done for who has left


async def test_a_visitor_with_one_piece_of_work_is_read_on_at_once() -> None:
    async with running_edge(1) as rig:
        visitor, transport = visitor_of(rig)
        visitor.data_received(ASK * REQUESTS_IN_A_PIECE)
        assert transport.written.count(b"HTTP/1.1 404 ") == REQUESTS_IN_A_PIECE
        assert transport.is_read
        visitor.connection_lost(None)


@pytest.mark.parametrize("meanwhile", ["more comes", "the visitor reads again"])
async def test_a_pipelining_visitor_waits_for_its_turn_in_any_case(meanwhile: str) -> None:
    """What TLS has taken in already comes although it is not read."""
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitor, transport = visitor_of(rig)
        visitor.data_received(ASK * (2 * REQUESTS_IN_A_PIECE))
        if meanwhile == "more comes":
            visitor.data_received(ASK)
        else:
            transport.take_nothing()
            transport.take_all()
        assert transport.written.count(b"HTTP/1.1 404 ") == REQUESTS_IN_A_PIECE
        await until(lambda: transport.is_read)
        in_all = 2 * REQUESTS_IN_A_PIECE + (meanwhile == "more comes")
        assert transport.written.count(b"HTTP/1.1 404 ") == in_all
        visitor.connection_lost(None)


async def test_later_bytes_of_a_waiting_body_keep_their_order(streams: Streams) -> None:
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitor, transport = visitor_of(rig)
        many = 3 * CHUNKS_IN_A_PIECE
        visitor.data_received(CHUNKED_POST + CHUNK * many)
        visitor.data_received(CHUNK.replace(b"x", b"y") + LAST)
        await until(lambda: transport.is_read)
        _, body = bytes(streams[0].written).split(b"\r\n\r\n", 1)
        assert bytes(octet for octet in body if octet in b"xy") == b"x" * many + b"y"
        assert body.endswith(LAST)
        visitor.connection_lost(None)


async def test_a_body_in_small_chunks_arrives_whole_piece_by_piece(streams: Streams) -> None:
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitor, transport = visitor_of(rig)
        visitor.data_received(CHUNKED_POST + CHUNK * (MANY * CHUNKS_IN_A_PIECE) + LAST + ASK)
        sent = [rig.tunnel.traffic.up]
        while not transport.is_read:
            await turns()
            sent.append(rig.tunnel.traffic.up)
        assert max(after - before for before, after in pairwise([0, *sent])) <= CHUNKS_IN_A_PIECE
        assert sent[-1] == MANY * CHUNKS_IN_A_PIECE
        assert streams[0].written.endswith(LAST)
        streams[0].sink.data_received(OK)
        assert transport.written.startswith(OK)
        assert transport.written.count(b"HTTP/1.1 404 ") == 1  # what came behind the body
        visitor.connection_lost(None)


async def test_visitors_that_leave_together_end_a_few_in_a_turn(streams: Streams) -> None:
    """To end a thousand of them in one turn stopped the loop for 56 ms. Their places are free at once."""
    many = 5 * PIECES_IN_A_TURN
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitors = [visitor_of(rig)[0] for _ in range(many)]
        for visitor in visitors:
            visitor.data_received(GET)
        assert rig.edge.requests_at(HOST) == many
        for visitor in visitors:
            visitor.connection_lost(None)
        streams[0].sink.data_received(OK)  # for nobody
        assert rig.edge.requests_at(HOST) == 0
        assert not rig.edge.connections
        ended = [0]
        while ended[-1] < many:
            await turns()
            ended.append(sum(stream.aborted for stream in streams))
            assert len(rig.tunnel.visits) == ended[-1]
        assert max(after - before for before, after in pairwise(ended)) <= PIECES_IN_A_TURN
        assert [visit.note for visit in rig.tunnel.visits] == ["the visitor left"] * many


async def test_who_leaves_while_its_bytes_wait_for_their_turn_ends_once(
    streams: Streams, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitor, transport = visitor_of(rig)
        visitor.data_received(CHUNKED_POST + CHUNK * (3 * CHUNKS_IN_A_PIECE))
        assert not transport.is_read
        visitor.connection_lost(None)
        await until(lambda: bool(rig.tunnel.visits))
        await turns(3)
        assert [visit.note for visit in rig.tunnel.visits] == ["the visitor left"]
        assert streams[0].aborted
        assert not caplog.records


async def test_who_leaves_a_stopping_edge_is_recorded_at_once(streams: Streams) -> None:
    """Nobody may be left to give it a turn."""
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitor, _ = visitor_of(rig)
        visitor.data_received(GET)
        rig.edge.draining = True
        visitor.connection_lost(None)
        assert streams[0].aborted
        assert len(rig.tunnel.visits) == 1


@pytest.mark.parametrize("end", ["last chunk", "last chunk, end", "last chunk, lost", "lost", "broken"])
async def test_an_answer_in_small_chunks_arrives_piece_by_piece_with_its_end(streams: Streams, end: str) -> None:
    """A stream on which nothing more can come is not kept for another request."""
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitor, transport = visitor_of(rig)
        visitor.data_received(GET)
        last = LAST if end.startswith("last chunk") else b""
        streams[0].sink.data_received(CHUNKED_OK + CHUNK * (MANY * CHUNKS_IN_A_PIECE) + last)
        assert streams[0].paused
        if end.endswith("end"):
            streams[0].sink.eof_received()
        elif end != "last chunk":
            streams[0].sink.stream_lost(ConnectionResetError() if end == "broken" else None)
        came = [rig.tunnel.traffic.down]
        while not rig.tunnel.visits:
            await turns()
            came.append(rig.tunnel.traffic.down)
            assert streams[0].paused or streams[0].closed or rig.tunnel.visits
        assert max(after - before for before, after in pairwise([0, *came])) <= CHUNKS_IN_A_PIECE
        (visit,) = rig.tunnel.visits
        assert visit.down == MANY * CHUNKS_IN_A_PIECE
        assert visit.note == ("" if last else "the local service broke off in the middle of its answer")
        assert transport.written.endswith(LAST) == bool(last)
        assert rig.edge.idle_streams == (1 if end == "last chunk" else 0)
        assert transport.ends == ([] if last else ["abort"])
        visitor.connection_lost(None)


@pytest.mark.parametrize("reads_again", [True, False])
async def test_a_visitor_that_reads_late_gets_the_whole_answer_of_an_ended_stream(
    streams: Streams, reads_again: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitor, transport = visitor_of(rig)
        visitor.data_received(GET)
        streams[0].sink.data_received(CHUNKED_OK + CHUNK * (MANY * CHUNKS_IN_A_PIECE) + LAST)
        streams[0].sink.stream_lost(None)
        transport.take_nothing()
        if reads_again:
            transport.take_all()
        await until(lambda: rig.tunnel.visits)
        assert transport.written.endswith(LAST)
        assert [(visit.note, visit.down) for visit in rig.tunnel.visits] == [("", MANY * CHUNKS_IN_A_PIECE)]
        assert not caplog.records
        visitor.connection_lost(None)


@pytest.mark.parametrize("first", ["the visitor reads", "it has caught up"])
async def test_a_stream_is_read_on_once_its_visitor_reads_and_it_has_caught_up(streams: Streams, first: str) -> None:
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitor, transport = visitor_of(rig)
        visitor.data_received(GET)
        many = 3 * CHUNKS_IN_A_PIECE
        streams[0].sink.data_received(CHUNKED_OK + CHUNK * many)
        transport.take_nothing()
        if first == "the visitor reads":
            transport.take_all()
            assert streams[0].paused
        await until(lambda: rig.tunnel.traffic.down >= many)
        assert streams[0].paused == (first == "it has caught up")
        transport.take_all()
        assert not streams[0].paused
        visitor.connection_lost(None)


async def test_a_service_that_makes_a_pause_after_many_small_chunks_is_read_again(streams: Streams) -> None:
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitor, transport = visitor_of(rig)
        visitor.data_received(GET)
        streams[0].sink.data_received(CHUNKED_OK + CHUNK * (2 * CHUNKS_IN_A_PIECE))
        await until(lambda: not streams[0].paused)
        streams[0].sink.data_received(CHUNK + LAST)
        assert transport.written.endswith(LAST)
        assert rig.tunnel.traffic.down == 2 * CHUNKS_IN_A_PIECE + 1
        visitor.connection_lost(None)


@pytest.mark.parametrize("early", [True, False], ids=["is answered", "gives its place to another"])
async def test_the_rest_of_an_abandoned_body_in_small_chunks_is_dropped(
    streams: Streams, early: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest of the body is useless."""
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitor, transport = visitor_of(rig)
        visitor.data_received(CHUNKED_POST + CHUNK * (MANY * CHUNKS_IN_A_PIECE))
        streams[0].sink.data_received(OK) if early else visitor.disconnect()
        up = rig.tunnel.traffic.up
        await turns(3)
        assert transport.written == (OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if early else b"")
        assert transport.ends == (["eof"] if early else ["abort"])
        assert rig.tunnel.traffic.up == up
        assert not caplog.records
        visitor.connection_lost(None)


async def test_a_stream_with_waiting_work_is_pooled_only_once_it_is_read_again(streams: Streams) -> None:
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitor, transport = visitor_of(rig)
        visitor.data_received(GET)
        streams[0].sink.data_received(CHUNKED_OK + CHUNK * (2 * CHUNKS_IN_A_PIECE) + LAST)
        await until(lambda: rig.edge.idle_streams)
        assert not streams[0].paused
        visitor.data_received(GET)
        streams[0].sink.data_received(OK)
        assert transport.written.endswith(OK)
        assert len(streams) == 1
        visitor.connection_lost(None)


async def test_no_work_is_done_for_a_visitor_that_has_left(streams: Streams, caplog: pytest.LogCaptureFixture) -> None:
    async with running_edge(1) as rig, asyncio.timeout(SECONDS):
        visitor, _ = visitor_of(rig)
        visitor.data_received(GET)
        streams[0].sink.data_received(CHUNKED_OK + CHUNK * (MANY * CHUNKS_IN_A_PIECE))
        visitor.connection_lost(None)
        down = rig.tunnel.traffic.down
        await turns(3)
        assert rig.tunnel.traffic.down == down
        assert streams[0].closed
        assert not caplog.records


class Worker:
    """Has one piece of work; `fails` counts the calls of its `fail`."""

    def __init__(self, *, breaks: bool) -> None:
        self.breaks = breaks
        self.done = self.fails = 0

    def catch_up(self) -> None:
        self.done += 1
        if self.breaks:
            raise ZeroDivisionError

    def fail(self) -> None:
        self.fails += 1
        raise ZeroDivisionError


async def test_the_round_goes_on_after_a_piece_and_its_end_have_failed(caplog: pytest.LogCaptureFixture) -> None:
    round_, broken, others = Round(), Worker(breaks=True), [Worker(breaks=False) for _ in range(2 * PIECES_IN_A_TURN)]
    round_.later(broken)
    for other in others:
        round_.later(other)
    await turns(5)
    assert [other.done for other in others] == [1] * len(others)
    assert (broken.done, broken.fails) == (1, 1)
    assert len(caplog.records) == 2
