"""The edge scans a head in small pieces once, of a visitor and of a service."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edge.http_rig import GET, running_edge, service
from ferry.edge.http import heads, upstream
from ferry.protocol.http1.octets import head_length

SECONDS = 20
FIELDS = b"".join(b"x-%d: value\r\n" % number for number in range(80))


class Looks:
    """Stands between the edge and `head_length`."""

    def __init__(self) -> None:
        self.bytes = 0
        """In which an end was looked for."""
        self.one = asyncio.Event()

    def __call__(self, buffer: bytes, *, seen: int = 0, **bounds: Any) -> int:
        self.bytes += len(buffer) - seen
        self.one.set()
        return head_length(buffer, seen=seen, **bounds)

    async def send(self, writer: asyncio.StreamWriter, head: bytes) -> None:
        """Each piece once the one before has been looked at."""
        for at in range(0, len(head), 16):
            self.one.clear()
            writer.write(head[at : at + 16])
            await self.one.wait()


async def test_heads_of_visitors_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    looks, sent = Looks(), 0
    monkeypatch.setattr(heads, "head_length", looks)
    async with asyncio.timeout(SECONDS), service(answer) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        for number in (1, 2):  # not the same one, which would be known by its bytes
            head = GET[:-2] + FIELDS + b"n: %d\r\n\r\n" % number
            sent += len(head)
            await looks.send(writer, head)
            assert b" 204 " in await reader.readuntil(b"\r\n\r\n")
            assert looks.bytes == sent
        writer.close()


async def test_heads_of_services_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, head = Looks(), b"HTTP/1.1 200 OK\r\n" + FIELDS + b"Content-Length: 0\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await looks.send(writer, head)

    monkeypatch.setattr(upstream, "head_length", looks)
    async with asyncio.timeout(SECONDS), service(answer) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert looks.bytes == len(head)
        writer.close()
