"""A busy client that loses a name to its own newer connection: slow reading is a sign of life too."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from ferry import limits, tasks
from inside_gateway import SECONDS, inside_gateway

WHOLE = bytes(range(256)) * 4096  # 1 MiB


class Link:
    """A line to the gateway that can be slow in the direction of the client."""

    def __init__(self, client: socket.socket, gateway: socket.socket) -> None:
        self._client, self._gateway = client, gateway
        self.slow = self.dead = False

    async def down(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.dead and (data := await loop.sock_recv(self._gateway, 8192)):
            if self.slow:
                await asyncio.sleep(0.1)
            await loop.sock_sendall(self._client, data)

    async def up(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._client, 65536):
            if not self.dead:
                await loop.sock_sendall(self._gateway, data)


@asynccontextmanager
async def link(port: int) -> AsyncIterator[tuple[Link, socket.socket]]:
    """A `Link`, and the client's end of it."""
    ours, client = socket.socketpair()
    with ours, socket.socket() as gateway:
        gateway.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        for one in (ours, client, gateway):
            one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(gateway, ("127.0.0.1", port))
        line = Link(ours, gateway)
        relays = [tasks.spawn("down", line.down()), tasks.spawn("up", line.up())]
        try:
            yield line, client
        finally:
            for relay in relays:
                relay.cancel()
            await asyncio.wait(relays)


@pytest.mark.parametrize("alive", [True, False])
async def test_visitors_of_a_slow_loser_may_finish(
    new_key: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    """Its answer to the question whether it is there waits behind what it has not read. One that is dead reads nothing."""
    monkeypatch.setattr(limits, "FLAP_ALIVE_SECONDS", 1.0)
    monkeypatch.setattr(limits, "TAKEOVER_DRAIN_SECONDS", 60.0)
    key = new_key()
    got: asyncio.Queue[int] = asyncio.Queue()

    async def serve(reader: asyncssh.SSHReader[bytes], _writer: asyncssh.SSHWriter[bytes]) -> None:
        try:
            while data := await reader.read(65536):
                got.put_nowait(len(data))
        finally:
            got.put_nowait(0)

    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, link(gateway.ssh_port) as (line, sock):
        port = gateway.ports.loopback[0]
        loser = await asyncssh.connect(
            "127.0.0.1", sock=sock, username="dev", client_keys=[str(key)], known_hosts=None, config=None,
            agent_path=None,
        )  # fmt: skip
        await loser.start_server(lambda *_: serve, "localhost", port, encoding=None)
        await gateway.let_through()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        line.slow = True
        writer.write(WHOLE)
        writer.write_eof()
        received = await got.get()
        line.dead = not alive
        async with gateway.client(key) as winner:
            assert await winner.forward(b"localhost", port)
            assert gateway.said("tunnel.takeover")
            if alive:
                asyncio.get_running_loop().call_later(1.2 * limits.FLAP_ALIVE_SECONDS, setattr, line, "slow", False)
                while part := await got.get():
                    received += part
                assert received == len(WHOLE)
            else:
                with pytest.raises(ConnectionResetError):
                    await reader.read()
        writer.transport.abort()
        loser.abort()
        await loser.wait_closed()
