"""A visitor that stops reading costs the gateway a mebibyte at most, and stalls only itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from gateway_process import Gateway
from greedy_client import MIB, settled
from web_client import unread

VISITORS = 50
EACH = MIB
SECONDS = 30


@asynccontextmanager
async def endless_service() -> AsyncIterator[int]:
    """Sends bytes for as long as they are taken, after a head for who speaks HTTP; answers `/small` at once."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            asked = await reader.readuntil(b"\n")
            if b"small" in asked:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsmall")
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n")
                while True:
                    writer.write(bytes(65536))
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the test is over
        finally:
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in list(writers):
            writer.transport.abort()
        await asyncio.sleep(0)


def answer_of(visitor: socket.socket) -> bytes:
    answer = b""
    with visitor:
        while not answer.endswith(b"small"):
            data = visitor.recv(4096)
            assert data, answer
            answer += data
    return answer


@pytest.mark.parametrize("kind", ["http", "tcp", "alias"])
async def test_visitors_that_do_not_read_cost_a_mebibyte_each_and_stall_only_themselves(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path, free_port: int, kind: str
) -> None:
    gateway = start_gateway()
    async with endless_service() as target, AsyncExitStack() as clients:
        port = gateway.ports.http if kind == "http" else free_port if kind == "alias" else next(gateway.loopback_ports)
        published = {"http": "unread:80", "tcp": str(port), "alias": "unread:7"}[kind]
        ssh = gateway.ssh(tmp_path, key)
        child = ssh.start("-T", "-R", f"{published}:127.0.0.1:{target}")
        clients.push_async_callback(asyncio.to_thread, child.close)
        await asyncio.to_thread(child.line, "^Forwarding ")
        if kind == "alias":
            through = ssh.start("-N", "-v", "-L", f"127.0.0.1:{port}:{published}")
            clients.push_async_callback(asyncio.to_thread, through.close)
            await asyncio.to_thread(through.error_line, "Entering interactive session|pledge")
        visitors: list[socket.socket] = []
        try:
            assert b"small" in await asyncio.to_thread(lambda: answer_of(unread(port, "unread", "/small")))
            before = gateway.memory()
            visitors += [await asyncio.to_thread(unread, port, "unread", "/endless") for _ in range(VISITORS)]
            await settled(gateway)
            grown = gateway.memory() - before
            for _ in range(3):
                assert b"small" in await asyncio.to_thread(lambda: answer_of(unread(port, "unread", "/small")))
            assert grown <= VISITORS * EACH
            assert grown > VISITORS * EACH // 8  # they do cost something: the service was not stalled elsewhere
        finally:
            for visitor in visitors:
                visitor.close()
