"""The end of a visitor's connection at its deadlines. As a play."""

from __future__ import annotations

import asyncio
import errno

import pytest

from edge.http_play import Said, perform, played
from edge.http_rig import GET, OWN
from ferry import limits
from ferry.edge.http.shared import Bounds
from hand_clock import HandClock
from turns import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 5\r\n\r\nhel"
UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
SWITCHING = "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
HALF = OK[:-1].decode()


@pytest.mark.parametrize("answer", [b"", OK[:-1]], ids=["not answered", "half an answer"])
async def test_an_expired_half_close_is_cut_without_a_408(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is pipelined behind the request that is waited for."""
    async with played(monkeypatch) as (_, visitor, transport, streams):
        visitor.data_received(GET + GET[:9])
        visitor.eof_received()
        if answer:
            streams[0].sink.data_received(answer)
        visitor.expired()
        assert transport.written == answer
        assert transport.ends == ["abort"]


async def test_a_visitor_found_gone_at_its_last_answer_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it still sends is not waited for: there is nobody, and no end-of-file can be written."""
    async with played(monkeypatch) as (_, visitor, transport, _):
        monkeypatch.setattr(transport, "is_closing", lambda: b"HTTP/1.1 400 " in transport.written)
        visitor.data_received(b"junk\r\n\r\n")
        assert transport.ends == ["close"]


async def test_each_further_head_has_a_deadline_from_its_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    async with (
        played(monkeypatch, clock=clock, bounds=Bounds(tick_seconds=0.01)) as (_, visitor, transport, streams),
        asyncio.timeout(3),
    ):
        for _ in range(2):
            visitor.data_received(GET)
            streams[-1].sink.data_received(OK)
            clock.ahead += limits.HEAD_SECONDS + 1
        for at in range(2):
            visitor.data_received(GET[at : at + 1])
            clock.ahead += 0.6 * limits.HEAD_SECONDS
        await until(lambda: b"HTTP/1.1 408 " in transport.written)
        assert transport.written.startswith(OK + OK + b"HTTP/1.1 408 ")


@pytest.mark.parametrize("of_ours", [True, False], ids=["an answer of ours", "the service's answer"])
async def test_an_answered_visitor_may_idle_longer_than_a_heads_deadline(
    of_ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, bounds = HandClock(), Bounds(tick_seconds=0.01, head_seconds=10, keepalive_seconds=60)
    async with played(monkeypatch, clock=clock, bounds=bounds) as (_, visitor, transport, streams):
        visitor.data_received(OWN if of_ours else GET)
        if not of_ours:
            streams[0].sink.data_received(OK)
        ended: list[list[str]] = []
        for _ in range(2):
            clock.ahead += 40
            ticked = asyncio.Event()
            asyncio.get_running_loop().call_later(0.05, ticked.set)
            await ticked.wait()
            ended.append(list(transport.ends))
        assert ended == [[], ["close"]]


@pytest.mark.parametrize(
    ("said", "stays"),
    [
        ([], False),
        ([GET[:9]], False),
        ([GET], True),
        ([GET, HALF], True),
        ([GET, OK.decode()], False),
        ([GET, "stuck", OK.decode()], True),
        ([POST], False),
        ([POST, HALF, "stuck"], False),
        ([UPGRADE, SWITCHING], True),
    ],
    ids=[
        "new",
        "half a head",
        "waiting",
        "reading",
        "idle",
        "idle, not reading",
        "sending",
        "reading slowly",
        "upgraded",
    ],
)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_a_visitor_that_ended_stays_while_bytes_are_due_to_it(
    said: Said, stays: bool, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its end is passed on after an upgrade. TLS cannot end one half."""
    async with played(monkeypatch, secure=secure) as (_, visitor, transport, streams):
        perform(said, visitor, transport, streams)
        assert visitor.eof_received() is (stays and not secure)
        assert [stream.ended for stream in streams] == [SWITCHING in said] * len(streams)
        assert transport.ends == []


async def test_an_upgraded_connection_that_both_have_ended_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with played(monkeypatch) as (rig, visitor, transport, streams):
        perform([UPGRADE, SWITCHING], visitor, transport, streams)
        streams[0].sink.eof_received()
        assert transport.ends == ["eof"]
        assert visitor.eof_received() is False
        assert transport.ends == ["eof", "close"]
        assert [visit.note for visit in rig.tunnel.visits] == [""]
        assert streams[0].closed


async def test_a_connection_closes_with_the_last_answer_after_the_visitors_end_of_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with played(monkeypatch) as (_, visitor, transport, streams):
        perform([GET + GET, "end", OK.decode()], visitor, transport, streams)
        assert transport.ends == []
        perform([OK.decode()], visitor, transport, streams)
        assert transport.written == OK + OK
        assert transport.ends == ["close"]


class Socket:
    """As a transport gives it: another connection may have its descriptor by now."""

    def __init__(self) -> None:
        self.lingers = 0

    def fileno(self) -> int:
        return 7

    def setsockopt(self, *_: object) -> None:
        self.lingers += 1
        raise OSError(errno.EBADF, "Bad file descriptor")


@pytest.mark.parametrize("tls", [False, True])
async def test_a_visitor_that_is_closing_over_tls_is_cut_without_its_socket(
    tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under uvloop the socket of a closing TLS transport may be another visitor's. One without TLS is reset."""
    async with played(monkeypatch) as (_, visitor, transport, _):
        sock = Socket()
        known = {"socket": sock, "sslcontext": object() if tls else None}
        monkeypatch.setattr(transport, "get_extra_info", lambda name, default=None: known.get(name, default))
        visitor.shut()
        monkeypatch.setattr(transport, "is_closing", lambda: True)
        visitor.expired()
        assert transport.ends == ["close", "abort"]
        assert sock.lingers == (0 if tls else 1)
