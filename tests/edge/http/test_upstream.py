"""A tunnel's stream, as a play: the test is the visitor's transport and the tunnel's streams."""

from __future__ import annotations

import pytest

from edge.http_play import Stream, played
from edge.http_rig import GET
from ferry.edge.http import pages
from ferry.relay import WritePause
from ferry.streams import OpenFailure
from turns import until

VISITOR_HIGH_WATER_BYTES = 64 * 1024
PIPELINE_BYTES = 64 * 1024
HEAD_REMEMBERED_BYTES = 2 * 1024
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("drained", [False, True])
async def test_a_stream_serves_another_request_only_after_the_whole_last_one(
    drained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that answers without reading would not read the next one either, which waits behind."""
    async with played(monkeypatch) as (_, visitor, transport, streams):
        visitor.data_received(POST)
        streams[0].sink.pause_writing()
        if drained:
            streams[0].sink.resume_writing()
        streams[0].sink.data_received(OK)
        assert transport.written == OK
        visitor.data_received(GET)
        assert (len(streams), streams[0].closed) == ((1, False) if drained else (2, True))
        streams[-1].sink.data_received(OK)
        assert transport.written == OK + OK


async def test_a_stream_with_an_early_answer_serves_no_other_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with played(monkeypatch) as (rig, visitor, transport, streams):
        visitor.data_received(POST[:-1])
        streams[0].sink.data_received(OK[:-1])
        visitor.data_received(POST[-1:])
        streams[0].sink.data_received(OK[-1:])
        assert transport.written == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert streams[0].closed
        assert rig.edge.idle_streams == 0


@pytest.mark.parametrize(
    ("before", "said", "status", "note"),
    [
        (False, b"", 502, pages.NO_TARGET),
        (False, b"HTTP/1.1 2", 502, pages.CLOSED),
        (False, b"HTTP/1.1 200 OK\r\n\r\n", 200, ""),
        (True, b"", 502, pages.CLOSED),
    ],
    ids=["nothing", "half a head", "a head, and nothing behind it", "nothing after another answer"],
)
async def test_only_a_tunnel_that_closes_without_a_byte_may_have_no_service(
    before: bool,
    said: bytes,
    status: int,
    note: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with played(monkeypatch) as (rig, visitor, _, streams):
        if before:
            visitor.data_received(GET)
            streams[0].sink.data_received(OK)
        visitor.data_received(GET)
        if said:
            streams[-1].sink.data_received(said)
        streams[-1].sink.eof_received()
        streams[-1].sink.stream_lost(None)
        await until(lambda: len(rig.tunnel.visits) > before)
        assert (rig.tunnel.visits[-1].status, rig.tunnel.visits[-1].note) == (status, note)
    assert not caplog.records


async def test_a_stream_with_extra_bytes_is_not_pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    size = VISITOR_HIGH_WATER_BYTES
    async with played(monkeypatch) as (rig, visitor, transport, streams):
        transport.reads = False
        visitor.data_received(GET)
        (stream,) = streams
        stream.sink.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size - 1))
        assert stream.paused
        stream.held = b"late"
        stream.sink.data_received(b"\0")  # what was under way
        assert stream.closed
        assert rig.edge.idle_streams == 0


async def test_a_visitor_with_a_full_read_ahead_is_read_again_after_its_last_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where what was read ahead ends with a request, so that no rest of a head is waited for."""
    many = PIPELINE_BYTES // len(GET) + 1
    async with played(monkeypatch) as (_, visitor, transport, streams):
        visitor.data_received(GET)
        visitor.data_received(GET * many)
        assert not transport.is_read
        for _ in range(1 + many):
            streams[0].sink.data_received(OK)
        assert transport.is_read
        assert transport.written == OK * (1 + many)


async def test_a_stream_that_is_refused_before_its_dial_returns_is_not_written_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(stream: Stream) -> None:
        stream.sink.stream_refused(OpenFailure.LIMIT)

    async with played(monkeypatch, refuse) as (_, visitor, transport, streams):
        visitor.data_received(GET)
        assert transport.written.startswith(b"HTTP/1.1 503 ")
        assert [stream.written for stream in streams] == [b""]


async def test_a_stream_is_read_again_when_every_reason_to_wait_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport's buffer may have drained into the kernel's, where too much is unsent."""
    async with played(monkeypatch) as (_, visitor, _, streams):
        visitor.data_received(GET)
        visitor.pause_writes(int(WritePause.UNSENT))
        visitor.pause_writing()
        visitor.resume_writing()
        assert streams[0].paused
        visitor.resume_writes(int(WritePause.UNSENT))
        assert not streams[0].paused


async def test_a_repeated_request_of_a_paused_visitor_relays_nothing_until_it_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with played(monkeypatch) as (_, visitor, transport, streams):
        visitor.data_received(GET)
        streams[0].sink.data_received(OK)
        visitor.data_received(GET)
        transport.take_nothing()
        streams[0].sink.stream_lost(None)
        assert [stream.paused for stream in streams] == [True, True]
        transport.take_all()
        assert not streams[1].paused


async def test_no_answer_gets_the_head_of_an_earlier_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A head is kept as it was written for one visitor, for others who want the same."""
    small = [OK, OK.replace(b"ok", b"no"), OK.replace(b"200 OK", b"201 Created")]
    large = OK.replace(b"OK\r\n", b"OK\r\nX: " + b"x" * HEAD_REMEMBERED_BYTES + b"\r\n")
    old = GET.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    async with played(monkeypatch) as (_, visitor, transport, streams):
        for answer in (OK, *small, large, OK, large.replace(b"X: x", b"X: y"), OK):
            for request, connection in ((GET, b""), (old, b"Connection: keep-alive\r\n"), (GET, b"")):
                visitor.data_received(request)
                streams[0].sink.data_received(answer)
                assert transport.written == answer.replace(b"\r\n\r\n", b"\r\n" + connection + b"\r\n")
                transport.written.clear()
        assert len(streams) == 1
