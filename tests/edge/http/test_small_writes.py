"""Small writes that wait for a visitor are few, as a play: the test is the visitor's transport and the tunnel's stream.

Each takes some 750 bytes in uvloop, however small it is: 64 KiB of single bytes would be 49 MB. The same of the bridge is
in test_bridge.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from edge.http_play import Stream, Transport
from edge.http_rig import GET, running_edge
from ferry.streams import Sink

SMALL_WRITE_BYTES = 512
SMALL_WRITES = 128
VISITOR_HIGH_WATER_BYTES = 64 * 1024
UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
OK = b"HTTP/1.1 200 OK\r\n"
WAYS = {
    "a length": (GET, OK + b"Content-Length: 9999999\r\n\r\n", b"x"),
    "until the end": (GET, OK + b"\r\n", b"x"),
    "chunks": (GET, OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "an upgrade": (UPGRADE, b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", b"x"),
}
"""What the visitor asks, how the answer begins, and a small piece of what follows."""
PIECE = b"x" * SMALL_WRITE_BYTES


@asynccontextmanager
async def answering(
    monkeypatch: pytest.MonkeyPatch, way: str = "a length"
) -> AsyncIterator[tuple[Transport, Stream, bytes]]:
    """A visitor whose answer has begun, and a small piece of the rest."""
    asked, begins, piece = WAYS[way]
    streams: list[Stream] = []
    async with running_edge(1) as rig:

        def dial(_grant: object, _originator: object, sink: Sink) -> Stream:
            streams.append(Stream(sink))
            return streams[-1]

        monkeypatch.setattr(rig.tunnel, "dial", dial)
        visitor = rig.edge.protocol(secure=False, port=80)
        transport = Transport(visitor)
        visitor.connection_made(cast(Any, transport))
        visitor.data_received(asked)
        (stream,) = streams
        stream.sink.data_received(begins)
        yield transport, stream, piece
        visitor.connection_lost(None)


@pytest.mark.parametrize("way", WAYS)
async def test_many_waiting_small_writes_are_bounded(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    async with answering(monkeypatch, way) as (transport, stream, piece):
        transport.reads = False
        assert stream.sends(piece) == SMALL_WRITES + 1
        for _ in range(2):  # and again, when the visitor has read all
            transport.take_all()
            assert not stream.paused
            assert stream.sends(piece) == SMALL_WRITES + 1


async def test_small_writes_that_do_not_wait_may_be_many(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(monkeypatch) as (_, stream, piece):
        assert stream.sends(piece, 3 * SMALL_WRITES) == 3 * SMALL_WRITES


async def test_the_count_restarts_when_the_visitor_has_read_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(monkeypatch) as (transport, stream, piece):
        transport.reads = False
        for _ in range(3):
            assert stream.sends(piece, SMALL_WRITES - 1) == SMALL_WRITES - 1
            stream.sends(PIECE)
            assert stream.paused
            transport.take_all()


async def test_large_writes_are_buffered_up_to_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after many small ones have waited and gone."""
    async with answering(monkeypatch) as (transport, stream, piece):
        transport.reads = False
        stream.sends(piece)
        transport.take_all()
        room = VISITOR_HIGH_WATER_BYTES // len(PIECE)
        for _ in range(3):  # many have waited, never too many at once
            assert stream.sends(PIECE, room) == room
            transport.take_all()
        assert stream.sends(PIECE) == room + 1


@pytest.mark.parametrize("way", ["a length", "an upgrade"])
async def test_the_service_is_read_again_before_a_visitors_buffer_is_empty(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """VISITOR_LOW_WATER_BYTES: else a download stands still each time."""
    async with answering(monkeypatch, way) as (transport, stream, _):
        transport.reads = False
        stream.sends(PIECE)
        transport.take(transport.waiting - 16 * 1024 - 1)
        assert stream.paused
        transport.take(1)
        assert not stream.paused
