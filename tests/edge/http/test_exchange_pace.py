"""The edge cuts slow visitors. As a play, in which a tick is a call."""

from __future__ import annotations

import re

import pytest

from edge.http_play import Said, perform, played
from edge.http_rig import GET
from hand_clock import HandClock

PACE_SECONDS = 20
ENOUGH_BYTES = 240 * PACE_SECONDS + 1  # in that time; seconds of a clock are not exact
HALF = "HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\nhalf"
EVENTS = HALF.replace("Content-Length", "Content-Type: text/event-stream\r\nContent-Length")
POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 9000000\r\n\r\n"
EXPECTING = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
SWITCHING = "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SENT_SLOWLY, READ_SLOWLY = "the request's body came too slowly", "the visitor read its answer too slowly"
SLOW: dict[str, tuple[Said, str]] = {
    "about to send": ([POST], SENT_SLOWLY),
    "sending": ([POST + b"x"], SENT_SLOWLY),
    "sending after the answer began": ([POST + b"x", HALF], SENT_SLOWLY),
    "told to send": ([EXPECTING, "HTTP/1.1 100 Continue\r\n\r\n"], SENT_SLOWLY),
    "sending without being told": ([EXPECTING + b"x"], SENT_SLOWLY),
    "reading": ([GET, HALF, "stuck"], READ_SLOWLY),
    "reading while the service does not": ([POST + b"x", "full", HALF, "stuck"], READ_SLOWLY),
}
MAY_BE_SLOW: dict[str, Said] = {
    "waiting for an answer": [GET],
    "waiting to be told to send": [EXPECTING],
    "waiting for its service to read": [POST + b"x", "full"],
    "having read all that came": [GET, HALF],
    "reading events": [GET, EVENTS, "stuck"],
    "upgraded": [UPGRADE, SWITCHING + "hello", "stuck"],
}


@pytest.mark.parametrize("doing", SLOW)
@pytest.mark.parametrize("enough", [False, True], ids=["nothing", "as much as it must"])
async def test_a_visitor_that_must_move_and_does_not_is_cut(
    doing: str, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, note = SLOW[doing]
    clock = HandClock()
    async with played(monkeypatch, clock=clock) as (rig, visitor, transport, streams):
        perform(said, visitor, transport, streams)
        now = clock.monotonic()
        for turn in range(4):
            visitor.check_pace(now + turn * PACE_SECONDS)
            if enough and note is SENT_SLOWLY:
                visitor.data_received(bytes(ENOUGH_BYTES))
            elif enough:
                streams[0].sink.data_received(bytes(ENOUGH_BYTES))
                transport.waiting = 0
        assert [visit.note for visit in rig.tunnel.visits] == ([] if enough else [note])
        assert [stream.aborted for stream in streams] == [not enough]
        told = re.findall(rb"HTTP/1\.1 (4\d\d)", transport.written)
        assert told == ([] if enough or HALF in said else [b"408"])
        assert transport.ends == ([] if enough else ["eof"] if told else ["abort"])


@pytest.mark.parametrize("doing", MAY_BE_SLOW)
async def test_a_visitor_that_need_not_move_stays(doing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    async with played(monkeypatch, clock=clock) as (rig, visitor, transport, streams):
        perform(MAY_BE_SLOW[doing], visitor, transport, streams)
        now, written = clock.monotonic(), len(transport.written)
        for turn in range(4):
            visitor.check_pace(now + turn * PACE_SECONDS)
        assert not rig.tunnel.visits
        assert len(transport.written) == written
        assert transport.ends == []
