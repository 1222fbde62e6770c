"""After visitors have left, the system gets their memory back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from ferry.gateway.memory import allocator
from gateway_process import Gateway
from greedy_client import MIB
from web_client import unread

TUNNELS = 12
EACH = 25
"""Visitors of a tunnel: so few that what the kernel takes for each of them is not bounded, and they fill our buffers."""
LEFT = 8 * MIB
SECONDS = 30
A_MINUTE = 60


@asynccontextmanager
async def endless_service() -> AsyncIterator[int]:
    """Answers with bytes for as long as they are taken."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(ConnectionError):  # the visitor has left
            await reader.readline()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n")
            while True:
                writer.write(bytes(65536))
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def attack(gateway: Gateway) -> None:
    """TUNNELS * EACH who do not read, until they hold twice as much as may be left of it."""
    before, visitors = gateway.memory(), list[socket.socket]()
    try:
        visitors += [
            await asyncio.to_thread(unread, gateway.ports.http, f"unread{number % TUNNELS}")
            for number in range(TUNNELS * EACH)
        ]
        async with asyncio.timeout(SECONDS):
            while gateway.memory() < before + 2 * LEFT:
                await asyncio.sleep(0.1)
    finally:
        for visitor in visitors:
            visitor.close()


@pytest.mark.skipif(allocator() is None, reason="this C library is not glibc, or older than 2.33")
async def test_memory_of_visitors_that_did_not_read_comes_back_within_a_minute(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    """Without being asked, glibc keeps all of it for as long as one small block lies above."""
    gateway = start_gateway(log={"level": "debug"})
    async with endless_service() as target:
        forwards = [word for number in range(TUNNELS) for word in ("-R", f"unread{number}:80:127.0.0.1:{target}")]
        with gateway.ssh(tmp_path, key).start("-T", *forwards) as child:
            for number in range(TUNNELS):
                await asyncio.to_thread(child.line, f"^Forwarding .*unread{number}\\.")
            fresh = gateway.memory()
            await attack(gateway)  # the warm round
            await asyncio.to_thread(gateway.event, '"memory.trimmed"')
            async with asyncio.timeout(A_MINUTE):
                while gateway.memory() > fresh + LEFT:  # it may have been given back in parts
                    await asyncio.sleep(0.1)
            before = gateway.memory()
            await attack(gateway)
            async with asyncio.timeout(A_MINUTE):
                while gateway.memory() > before + LEFT:
                    await asyncio.sleep(0.1)
