"""Callbacks after the visitor has left: the edge writes nothing, and loses no place."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest

from edge.http_play import played
from edge.http_rig import GET, OWN, Rig, answering, running_edge, service
from ferry.edge.http.shared import Bounds
from resets import reset
from turns import turns, until

BOTH_LOOPS = True
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BARE = GET.replace(b"a.localhost", b"localhost")
MISSES = BARE + GET.replace(b"a.", b"nobody.") + GET.replace(b"a.", b"reserved.")


async def nobody_is_left(rig: Rig) -> None:
    await until(lambda: not rig.edge.connections)


@pytest.mark.parametrize("asked", [BARE * 200, MISSES * 50], ids=["the bare domain", "names without a tunnel"])
async def test_a_visitor_that_pipelines_and_resets_logs_no_error(
    asked: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with running_edge(1) as rig:
        for turn in range(20):
            _, writer = await rig.connect()
            writer.write(asked)
            await turns(turn % 5)  # each time a little later
            reset(writer)
        await nobody_is_left(rig)
        answer = await rig.talk(BARE, eof=True)  # behind whatever those have left to do
        assert answer.startswith(b"HTTP/1.1 200 ")
    assert not caplog.records


async def test_a_visitor_that_leaves_during_the_look_up_gets_no_answer_and_logs_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(_host: str) -> bool:
        asked.set()
        await go.wait()
        return False

    async with running_edge(1, is_reserved=slow) as rig:
        _, writer = await rig.connect()
        writer.write(GET.replace(b"a.", b"nobody."))
        await asked.wait()
        reset(writer)
        await nobody_is_left(rig)
        go.set()
        assert (await rig.talk(OWN, eof=True)).startswith(b"HTTP/1.1 404 ")
        assert [fields["status"] for _, fields in rig.reports] == [404]
    assert not caplog.records


async def test_a_visitor_that_leaves_in_the_turn_of_the_look_up_gets_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(_host: str) -> bool:
        asked.set()
        await go.wait()
        return False

    async with played(monkeypatch, is_reserved=slow) as (rig, visitor, transport, _):
        visitor.data_received(GET.replace(b"a.", b"nobody."))
        await asked.wait()
        go.set()
        visitor.connection_lost(None)
        await turns(5)
        assert (rig.reports, bytes(transport.written)) == ([], b"")


async def test_a_visitor_that_is_gone_at_an_answer_of_ours_gets_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport closes by itself where a write finds that."""
    async with played(monkeypatch) as (rig, visitor, transport, _):
        monkeypatch.setattr(transport, "is_closing", lambda: bool(transport.written))
        visitor.data_received(OWN * 3)
        assert len(rig.reports) == 1


async def test_a_look_up_that_fails_is_answered_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_host: str) -> bool:
        raise ZeroDivisionError

    async with running_edge(1, is_reserved=broken) as rig:
        answer = await rig.talk(GET.replace(b"a.", b"nobody."), eof=True)
        assert answer.startswith(b"HTTP/1.1 503 ")
    assert [record.name for record in caplog.records] == ["ferry.tasks"]


@pytest.mark.parametrize("coding", [b"zz\r\n", b"5\r\nhelloX"], ids=["size", "end of a chunk"])
async def test_a_broken_chunk_in_the_packet_of_its_head_gives_its_place_back(coding: bytes) -> None:
    post = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + coding
    bounds = Bounds(visitors_per_tunnel=2, linger_seconds=0.1, tick_seconds=0.05)
    async with service(answering(OK)) as port, running_edge(port, bounds=bounds) as rig:
        for _ in range(3):
            assert (await rig.talk(post, eof=True)).startswith(b"HTTP/1.1 400 ")
        assert re.findall(rb"HTTP/1\.1 (\d+)", await rig.talk(GET, eof=True)) == [b"200"]
        assert [visit.status for visit in rig.tunnel.visits] == [400, 400, 400, 200]
        assert all(visit.note for visit in rig.tunnel.visits[:3])
