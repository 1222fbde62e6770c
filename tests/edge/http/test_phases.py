"""The table of phases: a step outside it ends its exchange only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.http_play import Said, Stream, Transport, perform, played
from edge.http_rig import GET, running_edge
from ferry.edge.http.exchange import Exchange
from ferry.edge.http.h1 import H1Connection
from ferry.edge.http.heads import HeadReader
from ferry.edge.http.phases import TABLE, ExchangePhase, Step
from ferry.edge.http.shared import Bounds
from ferry.protocol.http1.framing import Framing
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.response import parse_response
from ferry.registry.contract import StoreUnavailable
from ferry.streams import OpenFailure
from turns import turns

POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 5\r\n\r\n"
UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
MOST_STEPS = 12
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
RESPONSE = parse_response(HEAD, method=b"GET", most_fields=10)

FROM_VISITOR = (GET, POST, POST + b"hello", b"hel", b"lo", UPGRADE, b"HTTP/2", GET.replace(b"a.", b"nobody."))
FROM_SERVICE = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"0\r\n\r\n",
    b"ok",
    SWITCHING,
)
ENDS = ("eof", "lost", "broken", "refused", "gone")
OTHERS = ("visitor eof", "full", "drained", "service full", "service drained", "displaced", "expired", "disconnected")
LOOK_UPS = ("looked up", "store failed")

steps = st.one_of(
    st.sampled_from(FROM_VISITOR).map(lambda data: ("visitor", data)),
    st.sampled_from(FROM_SERVICE).map(lambda data: ("service", data)),
    st.sampled_from(ENDS).map(lambda end: ("end", end)),
    st.sampled_from(OTHERS).map(lambda other: ("other", other)),
    st.sampled_from(LOOK_UPS).map(lambda end: ("look-up", end)),
)


class Listening(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


class Streams(list[Stream]):
    """Those that were dialled; the last one is the one that is played."""

    opened = ended = False

    def dial(self, _grant: object, _originator: object, sink: Any) -> Stream:
        self.append(Stream(sink))
        self.opened = self.ended = False
        return self[-1]


class LookUps(list["asyncio.Future[bool]"]):
    """Questions to the registry, which answers when the test says so: perhaps after the visitor has left."""

    async def is_reserved(self, _host: str) -> bool:
        self.append(asyncio.get_running_loop().create_future())
        return await self[-1]

    async def end(self, how: str) -> None:
        await turns()  # a question may be about to be asked
        for asked in self:
            asked.set_result(False) if how == "looked up" else asked.set_exception(StoreUnavailable("full"))
        self.clear()
        await turns(2)


def service_step(streams: Streams, kind: str, what: Any) -> None:
    """As `ferry.streams` lets them follow each other."""
    stream = streams[-1]
    if what in ("refused", "gone"):
        if not streams.opened:
            stream.closed = True
            stream.sink.stream_refused(OpenFailure.REFUSED if what == "refused" else OpenFailure.GONE)
        return
    streams.opened = True
    if kind == "service" or what == "eof":
        if not streams.ended:  # a channel drops what comes behind its end-of-file
            streams.ended = what == "eof"
            stream.sink.eof_received() if streams.ended else stream.sink.data_received(what)
    elif what == "lost":
        stream.closed = True
        stream.sink.stream_lost(None)
    else:
        stream.closed = True
        stream.sink.stream_lost(ConnectionResetError("gone"))


def other_step(visitor: H1Connection, streams: Streams, what: str) -> None:
    if what == "visitor eof" and not visitor.ended:
        if not visitor.eof_received():
            visitor.transport.close()
    elif what == "full" and not visitor.write_paused:
        visitor.pause_writing()
    elif what == "drained" and visitor.write_paused:
        visitor.resume_writing()
    elif what == "displaced" and visitor.exchange.backend is not None:
        visitor.exchange.displace()
    elif what == "expired":
        visitor.expired()
    elif what == "disconnected":
        visitor.disconnect()
    elif streams and not streams[-1].closed and what.startswith("service "):
        sink = streams[-1].sink
        sink.pause_writing() if what == "service full" else sink.resume_writing()


@given(played=st.lists(steps, max_size=MOST_STEPS))
@settings(max_examples=400)
async def test_no_order_of_events_leaves_the_table(played: list[tuple[str, Any]]) -> None:
    listening = Listening()
    streams, look_ups = Streams(), LookUps()
    logging.getLogger("ferry.edge").addHandler(listening)
    patch = pytest.MonkeyPatch()
    try:
        async with running_edge(1, is_reserved=look_ups.is_reserved) as rig:
            patch.setattr(rig.tunnel, "dial", streams.dial)
            visitor = rig.edge.protocol(secure=False, port=80)
            visitor.connection_made(cast(Any, Transport(visitor)))
            for kind, what in played:
                if kind == "visitor":
                    visitor.data_received(what)
                elif kind == "other":
                    other_step(visitor, streams, what)
                elif kind == "look-up":
                    await look_ups.end(what)
                elif streams and not streams[-1].closed:
                    service_step(streams, kind, what)
            visitor.connection_lost(None)
            await look_ups.end("looked up")
            assert visitor.exchange.phase is ExchangePhase.IDLE
            assert not any(backend.places.in_use for backend in rig.edge.backends.made.values())
    finally:
        patch.undo()
        logging.getLogger("ferry.edge").removeHandler(listening)
    assert listening.said == []


async def test_an_illegal_step_ends_that_exchange_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    streams = Streams()
    async with running_edge(1) as rig:
        monkeypatch.setattr(rig.tunnel, "dial", streams.dial)
        visitors = [rig.edge.protocol(secure=False, port=80) for _ in range(2)]
        for visitor in visitors:
            visitor.connection_made(cast(Any, Transport(visitor)))
            visitor.data_received(GET)
        visitors[0].exchange.sent()  # it had no body
        assert [stream.closed for stream in streams] == [True, False]
        assert [visitor.exchange.phase for visitor in visitors] == [ExchangePhase.IDLE, ExchangePhase.WAITING]
        (record,) = caplog.records
        assert record.getMessage() == (
            "ended an exchange: illegal step in phase WAITING: the end of the request's body"
        )
        for visitor in visitors:
            visitor.connection_lost(None)
        await turns()
        assert [visit.note for visit in rig.tunnel.visits] == ["the gateway has an internal error", "the visitor left"]


async def test_an_exchange_ended_by_an_illegal_step_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams()
    async with running_edge(1) as rig:
        monkeypatch.setattr(rig.tunnel, "dial", streams.dial)
        visitor = rig.edge.protocol(secure=False, port=80)
        visitor.connection_made(cast(Any, Transport(visitor)))
        visitor.data_received(GET)
        streams[0].sink.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        visitor.exchange.no_answer("it is too late for that", retry=True)
        assert len(streams) == 1
        visitor.connection_lost(None)
        assert [visit.note for visit in rig.tunnel.visits] == ["the gateway has an internal error"]


def request(head: bytes) -> RequestHead:
    taken, _ = HeadReader(Bounds(), {}).take(head)
    assert taken is not None
    return taken


ON_THE_WAY: dict[ExchangePhase, Said] = {
    ExchangePhase.SENDING: [POST + b"hel"],
    ExchangePhase.WAITING: [GET],
    ExchangePhase.EARLY: [POST + b"hel", HEAD.decode()],
    ExchangePhase.ANSWERING: [GET, HEAD.decode()],
    ExchangePhase.RAW: [UPGRADE, SWITCHING.decode()],
}
"""What leads there."""
TAKEN: dict[Step, Callable[[Exchange], object]] = {
    Step.ASK: lambda exchange: exchange.begin(request(GET)),
    Step.ASK_WITH_BODY: lambda exchange: exchange.begin(request(POST)),
    Step.LOOK_UP: lambda exchange: exchange.begin(request(GET.replace(b"a.", b"nobody."))),
    Step.SENT: lambda exchange: exchange.sent(),
    Step.HEAD: lambda exchange: exchange.responding(RESPONSE, Framing.LENGTH),
    Step.SWITCH: lambda exchange: exchange.switched(RESPONSE, b""),
    Step.ANSWERED: lambda exchange: exchange.answered(reusable=True),
    Step.RAW_ENDED: lambda exchange: exchange.upstream_lost(None),
    Step.REFUSE: lambda exchange: exchange.refuse(502, "it is too late for that"),
}
"""The steps, as a caller of an exchange takes them."""
WRONG = [(phase, step) for phase in ON_THE_WAY for step in TAKEN if TABLE[step][phase] is None]


@pytest.mark.parametrize(("phase", "step"), WRONG, ids=lambda one: one.name)
async def test_each_illegal_step_ends_the_exchange_and_nothing_more_is_written(
    phase: ExchangePhase, step: Step, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with played(monkeypatch) as (_, visitor, transport, streams):
        perform(ON_THE_WAY[phase], visitor, transport, streams)
        written = bytes(transport.written)
        assert visitor.exchange.phase is phase
        TAKEN[step](visitor.exchange)
        assert visitor.exchange.phase is ExchangePhase.IDLE
        assert transport.ends == ["abort"]
        assert transport.written == written
        assert [stream.aborted for stream in streams] == [True]
    (record,) = caplog.records
    assert record.getMessage().startswith(f"ended an exchange: illegal step in phase {phase.name}: ")


async def test_an_answer_with_an_illegal_head_is_not_relayed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with played(monkeypatch) as (rig, visitor, transport, streams):
        visitor.data_received(GET)
        visitor.exchange.responding(RESPONSE, Framing.LENGTH)
        streams[0].sink.data_received(HEAD + b"ok")
        assert transport.written == b""
        assert rig.tunnel.traffic.down == 0
    assert len(caplog.records) == 1


def test_only_an_exchange_that_waits_for_a_look_up_changes_at_its_end() -> None:
    changed = [phase for phase in ExchangePhase if TABLE[Step.LOOKED_UP][phase] is not phase]
    assert changed == [ExchangePhase.LOOKUP]
    assert TABLE[Step.LOOKED_UP][ExchangePhase.LOOKUP] is ExchangePhase.IDLE


def test_every_phase_can_be_left_and_every_step_taken_somewhere() -> None:
    for phase in ExchangePhase:
        assert TABLE[Step.BREAK][phase] is ExchangePhase.IDLE
    for row in TABLE.values():
        assert any(after is not None for after in row)
        assert len(row) == len(ExchangePhase)
