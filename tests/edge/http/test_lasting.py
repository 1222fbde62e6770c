"""The owner hears of a WebSocket or an event stream when it opens."""

from __future__ import annotations

import asyncio

import pytest

from edge.http_rig import running_edge, service

UPGRADE = b"Connection: Upgrade\r\nUpgrade: echo\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n"


@pytest.mark.parametrize(
    ("fields", "answer", "status"),
    [
        (UPGRADE, SWITCHING, 101),
        (b"", EVENTS + b"\r\ndata: 1\n\n", 200),
        (b"", EVENTS + b"\r\n", 200),
        (b"", EVENTS + CHUNKED, 200),
        (b"", EVENTS + b"Content-Length: 2\r\n\r\nok", None),  # it is over already
        (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\npart", None),
        (b"", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\npart", None),
    ],
    ids=["upgrade", "events", "events without one", "chunked events", "whole events", "large", "until close"],
)
@pytest.mark.parametrize("watched", [True, False])
async def test_a_visit_that_lasts_is_told_of_once_if_a_session_watches(
    fields: bytes, answer: bytes, status: int | None, *, watched: bool
) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await over.wait()

    over = asyncio.Event()
    async with service(handle) as port, running_edge(port) as rig:
        rig.tunnel.watched = watched
        reader, writer = await rig.connect()
        writer.write(b"GET /it?x=y HTTP/1.1\r\nHost: a.localhost\r\n" + fields + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        told = [(visit.status, visit.method, visit.target, visit.peer.host) for visit in rig.tunnel.lasting]
        assert told == ([(status, "GET", "/it?x=y", "127.0.0.1")] if watched and status else [])
        before = len(rig.tunnel.lasting)
        over.set()
        writer.close()
        await rig.visit()
        assert len(rig.tunnel.lasting) == before
