"""A raw SSH client that takes forwarded channels with a window that never runs out: only the gateway's brakes hold."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh

from gateway_process import Gateway

MIB = 1024 * 1024
HUGE_WINDOW = 2**31 - 1


class Swallow(asyncssh.SSHTCPSession[bytes]):
    """A local service that hashes its input, and tells when that was `expected` bytes. Without what comes before
    them, up to and with `behind`."""

    def __init__(self, expected: int, behind: bytes = b"") -> None:
        self.expected = expected
        self.got = 0
        self.hash = hashlib.sha256()
        self.complete = asyncio.Event()
        self._behind = behind
        self._before = b""

    def data_received(self, data: bytes, datatype: Any) -> None:
        if self._behind:
            self._before += data
            _, found, data = self._before.partition(self._behind)
            if not found:
                return
            self._behind = b""
        self.got += len(data)
        self.hash.update(data)
        if self.got >= self.expected:
            self.complete.set()

    def eof_received(self) -> bool:
        return True


class GreedyClient(asyncssh.SSHClientConnection):
    """Takes forwarded channels with a window that never runs out, so that only the gateway's own brakes hold."""

    targets: dict[int, Swallow]
    """What answers at each port that this client holds."""

    def _process_forwarded_tcpip_open(self, packet: Any) -> Any:
        packet.get_string()
        target = self.targets[packet.get_uint32()]
        packet.get_string(), packet.get_uint32()
        channel: Any = self.create_tcp_channel(window=HUGE_WINDOW)
        return channel, target

    async def forward(self, host: str, port: int) -> None:
        """Request a forward, as `ssh -R HOST:PORT:...` does, and get it."""
        kind, _ = await self._make_global_request(
            b"tcpip-forward", asyncssh.packet.String(host), asyncssh.packet.UInt32(port)
        )
        assert kind == 81  # SSH_MSG_REQUEST_SUCCESS

    async def visit(self, alias: str, port: int, target: Swallow) -> None:
        """A channel to `alias`, as `ssh -W` opens one; what comes goes to `target`."""
        await self.create_connection(lambda: target, alias, port, window=HUGE_WINDOW)


@asynccontextmanager
async def greedy(
    gateway: Gateway, key: Path, *ports: int, receive_buffer: int | None = None
) -> AsyncIterator[GreedyClient]:
    """A raw client that holds the TCP ports `ports`. `receive_buffer` bounds what the kernel takes for it, in bytes."""
    loop = asyncio.get_running_loop()
    options = await asyncssh.SSHClientConnectionOptions.construct(
        username="dev", client_keys=[str(key)], known_hosts=None, config=None, agent_path=None
    )
    ready = loop.create_future()
    options.waiter = ready
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", gateway.ports.ssh))
    _, connection = await loop.create_connection(lambda: GreedyClient(loop, options, wait="auth"), sock=sock)
    await ready
    connection.targets = {}
    for port in ports:
        await connection.forward("localhost", port)
    try:
        yield connection
    finally:
        connection.abort()
        await connection.wait_closed()


@asynccontextmanager
async def pouring(port: int, data: bytes) -> AsyncIterator[None]:
    """A visitor that sends `data` as fast as the gateway reads it, and then waits for an end of file."""
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
    """Wait until the gateway takes no more: its memory does not grow for two seconds."""
    last, same = -1, 0
    while same < 8:
        now = gateway.memory() // (256 * 1024)
        same = same + 1 if now <= last else 0
        last = max(last, now)
        await asyncio.sleep(0.1)
