"""A peer that takes no data costs the gateway a bounded amount of memory, and loses not a byte when it goes on."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from gateway_process import Gateway

MIB = 1024 * 1024
HUGE_WINDOW = 2**31 - 1
GROWTH = 4 * MIB
SENT = 64 * MIB


class Swallow(asyncssh.SSHTCPSession[bytes]):
    """A local target that hashes what it gets, and tells when that was `expected` bytes."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.got = 0
        self.hash = hashlib.sha256()
        self.complete = asyncio.Event()

    def data_received(self, data: bytes, datatype: Any) -> None:
        self.got += len(data)
        self.hash.update(data)
        if self.got >= self.expected:
            self.complete.set()

    def eof_received(self) -> bool:
        return True


class GreedyClient(asyncssh.SSHClientConnection):
    """Takes forwarded channels with a window that never runs out, so that only the gateway's own brakes hold."""

    target: Swallow

    def _process_forwarded_tcpip_open(self, packet: Any) -> Any:
        packet.get_string(), packet.get_uint32(), packet.get_string(), packet.get_uint32()
        channel: Any = self.create_tcp_channel(window=HUGE_WINDOW)
        return channel, self.target


@asynccontextmanager
async def greedy(gateway: Gateway, key: Path, port: int) -> AsyncIterator[GreedyClient]:
    """A raw client that holds the TCP port `port`."""
    loop = asyncio.get_running_loop()
    options = await asyncssh.SSHClientConnectionOptions.construct(
        username="dev", client_keys=[str(key)], known_hosts=None, config=None, agent_path=None
    )
    ready = loop.create_future()
    options.waiter = ready
    _, connection = await loop.create_connection(
        lambda: GreedyClient(loop, options, wait="auth"), "127.0.0.1", gateway.ports.ssh
    )
    await ready
    kind, _ = await connection._make_global_request(
        b"tcpip-forward", asyncssh.packet.String("localhost"), asyncssh.packet.UInt32(port)
    )
    assert kind == 81  # SSH_MSG_REQUEST_SUCCESS
    connection.target = Swallow(SENT)
    try:
        yield connection
    finally:
        connection.abort()
        await connection.wait_closed()


@asynccontextmanager
async def pouring(port: int, data: bytes) -> AsyncIterator[None]:
    """A visitor who sends `data` as fast as it is taken, and then waits for an end of file."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        writer.write(data)
        await writer.drain()
        await reader.read()

    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        writer.transport.abort()
        await asyncio.wait([asyncio.create_task(writer.wait_closed())])


async def settled(gateway: Gateway) -> None:
    """Until the gateway takes no more: two seconds' worth of looks at its memory show no growth."""
    last, same = -1, 0
    while same < 8:
        now = gateway.memory() // (256 * 1024)
        same = same + 1 if now <= last else 0
        last = max(last, now)
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", ["stops reading", "begins a key exchange and never ends it"])
async def test_memory_is_bounded_and_every_byte_arrives(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], how: str
) -> None:
    gateway = start_gateway()
    port = gateway.ports.loopback[1]
    async with greedy(gateway, new_key(), port) as client:
        client.target = Swallow(4)
        async with pouring(port, b"warm"):
            await client.target.complete.wait()
        client.target = Swallow(SENT)
        transport: Any = client._transport
        if how == "stops reading":
            transport.pause_reading()
        else:
            client._send_kexinit()  # and then nothing more of it: our own answer to theirs is held back
            client._kexinit_sent = True
            client._recv_handler = lambda: False
        before = gateway.memory()
        data = os.urandom(SENT)
        async with pouring(port, data):
            await settled(gateway)
            assert client.target.got < SENT
            assert gateway.memory() - before <= GROWTH
            if how == "stops reading":
                transport.resume_reading()
            else:
                client._recv_handler = client._recv_pkthdr
                client._recv_data()
            async with asyncio.timeout(60):
                await client.target.complete.wait()
        assert client.target.hash.digest() == hashlib.sha256(data).digest()


async def test_a_rekey_every_few_megabytes_in_both_directions_keeps_every_byte(
    gateway: Gateway, new_key: Callable[[], Path], tmp_path: Path
) -> None:
    port = gateway.ports.loopback[2]
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
