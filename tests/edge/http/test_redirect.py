"""Plain HTTP where HTTPS is served."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from edge.http_play import Transport
from ferry import limits
from ferry.clock import SystemClock
from ferry.edge.http.dates import Dates
from ferry.edge.http.redirect import RedirectProtocol


async def talk(port: int, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: RedirectProtocol(port, Dates(SystemClock())), "127.0.0.1", 0)
    async with server, asyncio.timeout(5):  # a head has ten seconds
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        for at in range(0, len(data), 7):
            writer.write(data[at : at + 7])
            await writer.drain()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


@pytest.mark.parametrize(
    ("port", "line", "location"),
    [
        (443, b"GET /a?b=c", b"https://a.example/a?b=c"),
        (8443, b"POST /x", b"https://a.example:8443/x"),
        (443, b"OPTIONS *", b"https://a.example/"),
        (443, b"GET http://a.example:80/y", b"https://a.example/y"),
    ],
)
async def test_redirect_keeps_path_and_query(port: int, line: bytes, location: bytes) -> None:
    answer = await talk(port, line + b" HTTP/1.1\r\nHost: A.example:80\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 308 Permanent Redirect\r\n")
    assert b"\r\nLocation: " + location + b"\r\n" in answer
    assert answer.endswith(b"\r\nConnection: close\r\n\r\n")
    assert b"\r\nDate: " in answer


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET /\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
    ],
)
async def test_an_invalid_request_gets_no_location(data: bytes, status: int) -> None:
    answer = await talk(443, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Location" not in answer


async def test_bytes_after_the_first_request_are_dropped() -> None:
    protocol = RedirectProtocol(443, Dates(SystemClock()))
    transport = Transport(protocol)
    protocol.connection_made(cast(Any, transport))
    for _ in range(3):
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
    protocol.connection_lost(None)
    assert transport.written.count(b"HTTP/1.1 ") == 1


async def test_a_visitor_without_a_head_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.05)
    assert await talk(443, b"GET / HTTP/1.1\r\nHo") == b""
