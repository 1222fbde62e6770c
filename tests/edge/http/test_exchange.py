"""The end of one request, and later bytes of its visitor. Through sockets."""

from __future__ import annotations

import asyncio

import pytest

from edge.http_play import Stream, played
from edge.http_rig import CLOSING, GET, OWN, answering, running_edge, service, statuses
from edge.tcp_tunnel import small_visitor
from ferry import limits
from ferry.edge.http.shared import Bounds
from ferry.streams import Sink
from turns import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: %d\r\n\r\n"
PATIENT = Bounds(linger_seconds=60, tick_seconds=0.02)  # no end here may wait for the deadline of a last answer


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        ((POST % 2**20).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + bytes(1000), bytes(2**19)),
        (CLOSING + GET, GET * 10_000),
    ],
    ids=["the rest of its body", "requests behind the last one"],
)
async def test_late_bytes_do_not_destroy_a_last_answer(asked: bytes, more: bytes) -> None:
    """A socket that is closed with unread bytes in it is reset, and the reset takes the answer along."""
    body = bytes(2**20)
    early = answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    async with service(early) as port, running_edge(port, bounds=PATIENT) as rig, asyncio.timeout(20):
        reader, writer = await rig.connect()
        writer.write(asked)
        assert statuses(await reader.readuntil(b"\r\n\r\n")) == [200]
        await rig.visit()
        writer.write(more)
        assert await reader.read() == body


async def test_a_visitor_of_http_1_0_gets_a_chunked_answer_up_to_the_close() -> None:
    """RFC 9112 §6.1."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    async with service(answering(chunked)) as port, running_edge(port) as rig:
        head, body = (await rig.talk(GET.replace(b"1.1", b"1.0"))).split(b"\r\n\r\n")
        assert body == b"hello"
        assert b"chunked" not in head


async def test_a_begun_body_with_expect_100_has_the_usual_pace() -> None:
    asked = (POST % 2000).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")

    async def reads_all(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2000)

    bounds = Bounds(body_min_rate=1000, pace_seconds=0.2, tick_seconds=0.02, linger_seconds=0.1)
    async with service(reads_all) as port, running_edge(port, bounds=bounds) as rig:
        assert statuses(await rig.talk(asked + bytes(500))) == [408]


async def test_a_slow_body_after_an_event_stream_is_cut() -> None:
    """Silence is part of an event stream, and of nothing that follows it on the connection."""
    events = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 2\r\n\r\n\n\n"

    async def reads_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(events)
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2000)

    bounds = Bounds(body_min_rate=1000, pace_seconds=0.2, tick_seconds=0.02, linger_seconds=0.1)
    async with service(reads_all) as port, running_edge(port, bounds=bounds) as rig:
        assert statuses(await rig.talk(GET + POST % 2000 + bytes(500))) == [200, 408]


async def test_a_visitor_that_ended_before_its_last_answer_is_closed_with_it() -> None:
    """Nothing more can come, so nothing is waited for, and nothing else would tell that it is gone."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await go.wait()
        writer.write(b"junk\r\n\r\n")

    async with service(nonsense) as port, running_edge(port, bounds=PATIENT) as rig, asyncio.timeout(10):
        reader, writer = await rig.connect()
        writer.write(CLOSING)
        await asked.wait()
        writer.write_eof()
        bare = await rig.talk(OWN, eof=True)  # the edge has seen the end by now
        assert statuses(bare) == [404]
        go.set()
        assert statuses(await reader.read()) == [502]
        await until(lambda: not rig.edge.connections)


@pytest.mark.usefixtures("one_of_many_unsent")
async def test_one_of_many_visitors_that_reads_late_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was unsent at the end of one answer holds up nothing behind it."""
    loop, asked, streams = asyncio.get_running_loop(), asyncio.Event(), list[Stream]()
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % limits.MIB + bytes(limits.MIB)

    class Heard(Stream):
        def write(self, data: bytes) -> None:
            asked.set()

    def dial(_grant: object, _originator: object, sink: Sink) -> Stream:
        streams.append(Heard(sink))
        return streams[-1]

    async with running_edge(1) as rig, asyncio.timeout(10):
        monkeypatch.setattr(rig.tunnel, "dial", dial)
        async with small_visitor(rig.port) as visitor:
            for _ in range(2):
                await loop.sock_sendall(visitor, GET)
                await asked.wait()
                asked.clear()
                streams[0].sink.data_received(large)  # all of it in one piece, the last
                got = 0
                while got < len(large):
                    got += len(await loop.sock_recv(visitor, 65536))
        assert len(streams) == 1


TO_THE_END = b"HTTP/1.1 200 OK\r\n\r\nto the end"


@pytest.mark.parametrize(
    ("asked", "half_closed", "answer", "end"),
    [
        (CLOSING, False, OK, "close"),
        (CLOSING, True, OK, "close"),
        (CLOSING, False, TO_THE_END, "close"),
        (CLOSING + b"GET", False, OK, "eof"),
        (GET, False, TO_THE_END, "eof"),
        (GET, True, TO_THE_END, "close"),
        (POST % 5 + b"hel", False, OK, "eof"),
        ((POST % 5).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"hel", False, OK, "eof"),
    ],
)
async def test_a_last_answer_half_closes_a_connection_that_may_receive_more(
    asked: bytes, half_closed: bool, answer: bytes, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9112 §9.6: what still comes would be answered by a reset, which destroys the answer."""
    async with played(monkeypatch) as (_, visitor, transport, streams):
        visitor.data_received(asked)
        if half_closed:
            visitor.eof_received()
        streams[0].sink.data_received(answer)
        if answer is TO_THE_END:
            assert transport.ends == []
            streams[0].sink.eof_received()
        assert b"\r\nConnection: close\r\n" in transport.written
        assert transport.ends == [end]
