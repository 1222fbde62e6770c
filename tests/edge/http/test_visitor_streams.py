"""The choice of a stream for a request. As a play."""

from __future__ import annotations

from typing import Any, cast

import pytest

from edge.http_play import Said, Transport, perform, played
from edge.http_rig import GET

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NTLM = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"
UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 5\r\n\r\n"
SWITCHING = "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "lost", "asked", "same", "left"),
    [
        (OK, False, GET, True, 0),
        (OK, True, GET, False, 0),
        (OK, False, UPGRADE, False, 1),
        (NTLM, False, GET, True, 0),
        (NTLM, True, GET, False, 0),
        (NTLM, False, UPGRADE, False, 0),
    ],
    ids=["idle", "idle and lost", "an upgrade", "its own", "its own and lost", "an upgrade, with one of its own"],
)
async def test_the_next_request_of_a_connection(
    answer: bytes, lost: bool, asked: bytes, same: bool, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with played(monkeypatch) as (rig, visitor, transport, streams):
        visitor.data_received(GET)
        streams[0].sink.data_received(answer)
        if lost:
            streams[0].sink.stream_lost(None)
        visitor.data_received(asked)
        assert (len(streams) == 1) is same
        assert rig.edge.idle_streams == left
        assert streams[0].closed is (not same and not left and not lost)
        streams[-1].sink.data_received(OK)
        assert transport.written == answer + OK


async def test_a_lost_pinned_stream_is_followed_by_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that fails on it is not sent again: nothing says that it was dead before."""
    async with played(monkeypatch) as (_, visitor, transport, streams):
        for _ in range(2):
            visitor.data_received(GET)
            streams[0].sink.data_received(NTLM)
        streams[0].sink.stream_lost(None)
        visitor.data_received(GET)
        streams[1].sink.stream_lost(None)
        assert len(streams) == 2
        assert transport.written.startswith(NTLM * 2 + b"HTTP/1.1 502 ")


async def test_each_request_of_a_connection_may_be_sent_again_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with played(monkeypatch) as (_, visitor, transport, streams):
        visitor.data_received(GET)
        streams[0].sink.data_received(OK)
        for turn in (1, 2):
            visitor.data_received(GET)
            streams[-1].sink.stream_lost(None)
            assert len(streams) == 1 + turn
            streams[-1].sink.data_received(OK)
        assert transport.written == OK * 3


async def test_a_repeated_request_does_not_use_another_idle_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with played(monkeypatch) as (rig, visitor, transport, streams):
        other = rig.edge.protocol(secure=False, port=80)
        other.connection_made(cast(Any, Transport(other)))
        for one in (visitor, other):
            one.data_received(GET)
        for stream in streams:
            stream.sink.data_received(OK)
        assert rig.edge.idle_streams == 2
        visitor.data_received(GET)
        streams[1].sink.stream_lost(None)
        assert rig.edge.idle_streams == 1
        streams[2].sink.stream_lost(None)
        assert transport.written.startswith(OK + b"HTTP/1.1 502 ")
        assert len(streams) == 3
        other.connection_lost(None)


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        ([POST + b"hel"], True),
        ([POST + b"hello"], False),
        ([GET], False),
        ([UPGRADE, SWITCHING], True),
    ],
    ids=["sending", "having sent", "waiting", "upgraded"],
)
async def test_a_visitor_waits_while_its_service_does_not_read(
    said: Said, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with played(monkeypatch) as (_, visitor, transport, streams):
        perform(said, visitor, transport, streams)
        perform(["full"], visitor, transport, streams)
        assert transport.is_read is not waits
        streams[0].sink.resume_writing()
        assert transport.is_read


@pytest.mark.parametrize("rest", [b"l", b"lo"], ids=["more to come", "the last piece"])
async def test_a_stream_that_a_body_fills_pauses_only_a_visitor_that_has_more_to_send(
    rest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with played(monkeypatch) as (_, visitor, transport, streams):
        visitor.data_received(POST + b"hel")
        sink = streams[0].sink
        monkeypatch.setattr(streams[0], "write", lambda _data: sink.pause_writing())
        visitor.data_received(rest)
        assert transport.is_read == (rest == b"lo")
