"""A peer that takes no data costs the gateway a bounded amount of memory, and loses not a byte when it goes on."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway_process import Gateway
from greedy_client import MIB, Swallow, greedy, pouring, settled

GROWTH = 4 * MIB
SENT = 64 * MIB


@pytest.mark.parametrize("how", ["stops reading", "begins a key exchange and never ends it"])
async def test_memory_is_bounded_and_every_byte_arrives(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], how: str
) -> None:
    gateway = start_gateway()
    port = next(gateway.loopback_ports)
    async with greedy(gateway, new_key(), port) as client:
        target = client.targets[port] = Swallow(4)
        async with pouring(port, b"warm"):
            await target.complete.wait()
        target = client.targets[port] = Swallow(1)
        transport: Any = client._transport
        before = gateway.memory()
        data = os.urandom(SENT)
        async with pouring(port, data):
            await target.complete.wait()  # the stream is open, and only the gateway's own brakes hold it
            target.expected = SENT
            target.complete.clear()
            if how == "stops reading":
                transport.pause_reading()
            else:
                client._send_kexinit()  # and then nothing more of it: our own answer to theirs is held back
                client._kexinit_sent = True
                where, client._recv_handler = client._recv_handler, lambda: False
            await settled(gateway)
            assert target.got < SENT
            assert gateway.memory() - before <= GROWTH
            if how == "stops reading":
                transport.resume_reading()
            else:
                client._recv_handler = where
                client._recv_data()
            async with asyncio.timeout(60):
                await target.complete.wait()
        assert target.hash.digest() == hashlib.sha256(data).digest()


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
