"""Two exchanges at once over one transport: each is paused, cut and tapped by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from edge.http.mux import MuxConnection
from edge.http_play import Stream, Transport
from edge.http_rig import GET, Rig, running_edge
from ferry.edge.http.phases import ExchangePhase
from ferry.policy.grants import Grant
from ferry.policy.principals import Principal
from ferry.policy.visits import Target, VisitPolicy
from ferry.protocol.http1.request import RequestHead
from ferry.streams import Direction, OpenFailure
from granted import granted

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


def get(target: bytes) -> bytes:
    return GET.replace(b"GET /", b"GET /" + target)


@dataclass
class Taps:
    """A tunnel's tap, which keeps what was seen of each request."""

    seen: dict[bytes, list[tuple[Direction, bytes]]] = field(default_factory=dict)
    ends: dict[bytes, Exception | None] = field(default_factory=dict)

    def begin(self, request: RequestHead | None) -> OneTap:
        assert request is not None
        self.seen[request.target] = []
        return OneTap(self, request.target)


@dataclass
class OneTap:
    taps: Taps
    target: bytes

    def seen(self, direction: Direction, data: bytes) -> None:
        self.taps.seen[self.target].append((direction, data))

    def ended(self, error: Exception | None) -> None:
        self.taps.ends[self.target] = error


@dataclass
class Play:
    rig: Rig
    connection: MuxConnection
    streams: list[Stream]
    taps: Taps


@asynccontextmanager
async def two_requests(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Play]:
    """Streams 1 and 2 of a connection ask the same tunnel, for `/one` and `/two`."""
    streams: list[Stream] = []

    def dial(_grant: object, _originator: object, sink: Any) -> Stream:
        streams.append(Stream(sink))
        return streams[-1]

    async with running_edge(1) as rig:
        monkeypatch.setattr(rig.tunnel, "dial", dial)
        rig.tunnel.tap = taps = Taps()
        connection = MuxConnection(rig.edge, Transport(asyncio.Protocol()))
        for number, target in ((1, b"one"), (2, b"two")):
            connection.ask(number, get(target))
        yield Play(rig, connection, streams, taps)
        for exchange in connection.exchanges.values():
            exchange.visitor_left()


async def test_two_interleaved_answers_arrive_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_requests(monkeypatch) as play:
        one, two = play.streams
        one.sink.data_received(HEAD + b"11111")
        two.sink.data_received(HEAD + b"22222")
        two.sink.data_received(b"22222")
        one.sink.data_received(b"11111")
        assert play.connection.frames == {
            1: [HEAD + b"11111", b"11111"],
            2: [HEAD + b"22222", b"22222"],
        }
        assert all(stream.over for stream in play.connection.streams.values())
        assert [(visit.target, visit.status, visit.down) for visit in play.rig.tunnel.visits] == [
            ("/two", 200, 10),
            ("/one", 200, 10),
        ]
        assert play.rig.edge.idle_streams == 2


async def test_one_exchange_is_paused_and_the_other_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_requests(monkeypatch) as play:
        one, two = play.streams
        play.connection.exchanges[1].pause_writing()
        assert (one.paused, two.paused) == (True, False)
        two.sink.data_received(HEAD + b"2222222222")
        assert play.connection.streams[2].over
        play.connection.exchanges[1].resume_writing()
        assert not one.paused


async def test_one_exchange_is_cut_and_the_other_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_requests(monkeypatch) as play:
        one, two = play.streams
        for stream in (one, two):
            stream.sink.data_received(HEAD + b"half ")
        one.sink.stream_lost(ConnectionResetError())
        assert play.connection.frames[1][-1] == b""
        assert not play.connection.streams[2].over
        two.sink.data_received(b"whole")
        assert play.connection.frames[2] == [HEAD + b"half ", b"whole"]
        assert [visit.note for visit in play.rig.tunnel.visits] == [
            "the local service broke off in the middle of its answer",
            "",
        ]


async def test_one_exchange_is_refused_and_the_other_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_requests(monkeypatch) as play:
        one, two = play.streams
        one.sink.stream_refused(OpenFailure.REFUSED)
        assert play.connection.frames[1][0].startswith(b"502 ")
        two.sink.data_received(HEAD + b"2222222222")
        assert play.connection.streams[2].over


async def test_each_exchange_has_its_own_tap(monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_requests(monkeypatch) as play:
        one, two = play.streams
        one.sink.data_received(HEAD + b"1")
        two.sink.data_received(HEAD + b"2222222222")
        one.sink.stream_lost(None)
        seen = {
            target: [data for direction, data in events if direction is Direction.DOWN]
            for target, events in play.taps.seen.items()
        }
        assert seen == {b"/one": [HEAD + b"1"], b"/two": [HEAD + b"2222222222"]}
        assert all(b"GET " + target in events[0][1] for target, events in play.taps.seen.items())
        assert {target: str(error) for target, error in play.taps.ends.items()} == {
            b"/one": "the local service broke off in the middle of its answer",
            b"/two": "None",
        }


async def test_each_exchange_has_its_own_body_and_may_switch_protocols(monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_requests(monkeypatch) as play:
        post = get(b"three").replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n")
        play.connection.ask(3, post, b"three")
        upgrade = get(b"four").replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        play.connection.ask(4, upgrade)
        _, two, three, four = play.streams
        assert three.written.endswith(b"\r\n\r\nthree")
        assert not two.written.endswith(b"three")
        switching = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        four.sink.data_received(switching + b"hello")
        three.sink.data_received(HEAD + b"3333333333")
        assert play.connection.frames[4] == [switching + b"hello"]
        assert play.connection.frames[3] == [HEAD + b"3333333333"]
        assert [(visit.target, visit.up) for visit in play.rig.tunnel.visits] == [("/three", 5)]


async def test_the_rest_of_a_body_is_sent_on_its_own_stream_and_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_requests(monkeypatch) as play:
        post = get(b"three").replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n")
        exchange = play.connection.ask(3, post, b"hel")
        stream = play.streams[2]
        phases = [exchange.phase]
        assert stream.written.endswith(b"\r\n\r\nhel")
        exchange.sent()
        exchange.send(b"lo", 2)
        phases.append(exchange.phase)
        assert phases == [ExchangePhase.SENDING, ExchangePhase.WAITING]
        assert stream.written.endswith(b"\r\n\r\nhello")
        stream.sink.data_received(HEAD + b"3333333333")
        assert [(visit.target, visit.up) for visit in play.rig.tunnel.visits] == [("/three", 5)]
        assert play.rig.tunnel.traffic.up == 5


class Decisions:
    """A policy that decides for each visitor, and keeps the grants."""

    def __init__(self) -> None:
        self.grants: list[Grant] = []

    def decide_for_all(self, _target: Target) -> None:
        return None

    def decide(self, who: Principal, target: Target) -> Grant:
        self.grants.append(granted(VisitPolicy("gw").decide(who, target)))
        return self.grants[-1]


class Interrupting(Taps):
    """A tap during whose first call another request begins."""

    def __init__(self, connection: MuxConnection) -> None:
        super().__init__()
        self.connection = connection

    def begin(self, request: RequestHead | None) -> OneTap:
        if not self.seen:
            self.seen[b""] = []
            self.connection.ask(2, get(b"two"))
        return super().begin(request)


async def test_each_request_dials_with_the_grant_of_its_own_visitor(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[tuple[Grant, Stream]] = []

    def dial(grant: Grant, _originator: object, sink: Any) -> Stream:
        dialled.append((grant, Stream(sink)))
        return dialled[-1][1]

    decisions = Decisions()
    async with running_edge(1) as rig:
        monkeypatch.setattr(rig.tunnel, "dial", dial)
        rig.visits.use(cast(Any, decisions))
        connection = MuxConnection(rig.edge, Transport(asyncio.Protocol()))
        rig.tunnel.tap = Interrupting(connection)
        connection.ask(1, get(b"one"))
        assert [b"GET /two" in stream.written for _, stream in dialled] == [True, False]
        one, two = decisions.grants
        assert [grant is of for (grant, _), of in zip(dialled, (two, one), strict=True)] == [True, True]
        for exchange in connection.exchanges.values():
            exchange.visitor_left()
