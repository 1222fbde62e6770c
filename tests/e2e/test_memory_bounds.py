"""A peer that takes no data costs the gateway a bounded amount of memory, and loses no byte when it goes on."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.http_rig import service
from gateway_process import Gateway
from greedy_client import MIB, GreedyClient, Swallow, greedy, pouring, settled
from ssh_command import StockSsh

GROWTH = 4 * MIB
SENT = 64 * MIB
NAME = "greedy"
STOPS, NO_KEYS = "stops reading", "begins a key exchange and never ends it"


@asynccontextmanager
async def way_to(
    kind: str, client: GreedyClient, ssh: StockSsh, gateway: Gateway, free_port: int
) -> AsyncIterator[tuple[int, int]]:
    """`client` publishes something of this kind: its port in what the gateway asks for, and where visitors connect."""
    if kind == "tcp":
        port = next(gateway.loopback_ports)
        await client.forward("localhost", port)
        yield port, port
    elif kind == "http":
        await client.forward(NAME, 80)
        yield 80, gateway.ports.http
    else:
        await client.forward(NAME, 7)
        through = ssh.start("-N", "-v", "-L", f"127.0.0.1:{free_port}:{NAME}:7")
        try:
            await asyncio.to_thread(through.error_line, "Entering interactive session|pledge")
            yield 7, free_port
        finally:
            await asyncio.to_thread(through.close)


def sent_as(kind: str, data: bytes) -> bytes:
    if kind != "http":
        return data
    return f"POST / HTTP/1.1\r\nHost: {NAME}.localhost\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


@pytest.mark.parametrize(
    ("kind", "how"),
    [("tcp", STOPS), ("tcp", NO_KEYS), ("http", STOPS), ("alias", STOPS), ("alias", NO_KEYS)],
)
async def test_memory_is_bounded_and_every_byte_arrives(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path, free_port: int, kind: str, how: str
) -> None:
    gateway = start_gateway()
    behind = b"\r\n\r\n" if kind == "http" else b""
    async with (
        greedy(gateway, key) as client,
        way_to(kind, client, gateway.ssh(tmp_path, key), gateway, free_port) as (asked, port),
    ):
        target = client.targets[asked] = Swallow(4, behind)
        async with pouring(port, sent_as(kind, b"warm")):
            await target.complete.wait()
        target = client.targets[asked] = Swallow(1, behind)
        transport: Any = client._transport
        before = gateway.memory()
        data = os.urandom(SENT)
        async with pouring(port, sent_as(kind, data)):
            await target.complete.wait()  # the stream is open, and only the gateway's own brakes hold it
            target.expected = SENT
            target.complete.clear()
            if how == STOPS:
                transport.pause_reading()
            else:
                client._send_kexinit()  # and then nothing more of it: our own answer to theirs is held back
                client._kexinit_sent = True
                where, client._recv_handler = client._recv_handler, lambda: False
            await settled(gateway)
            assert target.got < SENT
            assert gateway.memory() - before <= GROWTH
            if how == STOPS:
                transport.resume_reading()
            else:
                client._recv_handler = where
                client._recv_data()
            async with asyncio.timeout(60):
                await target.complete.wait()
        assert target.hash.digest() == hashlib.sha256(data).digest()


async def test_a_visitor_of_an_alias_that_stops_reading_pauses_the_sender(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    """Its channel has a window that never runs out."""
    gateway = start_gateway()
    data = os.urandom(SENT)

    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    async with service(pour) as port, greedy(gateway, key) as visitor:
        machine = gateway.ssh(tmp_path, key).start("-R", f"{NAME}:7:127.0.0.1:{port}")
        try:
            await asyncio.to_thread(machine.line, "^Forwarding private alias")
            before = gateway.memory()
            target = Swallow(1)
            await visitor.visit(NAME, 7, target)
            await target.complete.wait()
            target.expected = SENT
            target.complete.clear()
            transport: Any = visitor._transport
            transport.pause_reading()
            await settled(gateway)
            assert target.got < SENT
            assert gateway.memory() - before <= GROWTH
            transport.resume_reading()
            async with asyncio.timeout(60):
                await target.complete.wait()
            assert target.hash.digest() == hashlib.sha256(data).digest()
        finally:
            await asyncio.to_thread(machine.close)


async def test_a_rekey_every_few_megabytes_in_both_directions_keeps_every_byte(
    gateway: Gateway, new_key: Callable[[], Path], tmp_path: Path
) -> None:
    port = next(gateway.loopback_ports)
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[1]
    ssh = gateway.ssh(tmp_path, new_key())
    child = ssh.start("-o", "RekeyLimit=4M", "-R", f"{port}:127.0.0.1:{target}")
    try:
        await asyncio.to_thread(child.line, "^Forwarding TCP")
        data = os.urandom(48 * MIB)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def send() -> None:
            writer.write(data)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        async with asyncio.timeout(60):
            back = await reader.read(-1)
        await sending
        writer.close()
        await writer.wait_closed()
        assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()
    finally:
        child.close()
        server.close()
        await server.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(256 * 1024):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
    writer.close()
    await writer.wait_closed()
