"""The table of clients: entries, the operator's closes, and the end of all clients when the gateway stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ferry.limiters.origins import THIS_HOST
from ferry.names import ConnectionId
from ferry.ssh.client import Client
from ferry.ssh.server import SshServer
from inside_gateway import SECONDS, inside_gateway
from memory_registry import MemoryRegistry
from raw_session import open_session
from ssh.forward_stage import NoPorts, closed, one_client
from turns import turns, until


class Rows:
    """Connections as the database hears of them."""

    def __init__(self) -> None:
        self.began: list[ConnectionId] = []
        self.ended: list[ConnectionId] = []

    def connection_started(self, connection: ConnectionId, *_: object) -> None:
        self.began.append(connection)

    def connection_ended(self, connection: ConnectionId, *_: object) -> None:
        self.ended.append(connection)

    def host_told(self, *_: object) -> None:
        """Nothing to keep."""

    async def prune(self, _before: float) -> int:
        return 0


async def test_others_have_their_turn_while_many_clients_follow_new_settings() -> None:
    """SETTINGS_CLIENTS."""
    done: list[int] = []

    class Many(SshServer):
        """With 120 clients."""

        def __init__(self) -> None:
            self.all = [SimpleNamespace(use_settings=partial(done.append, number)) for number in range(120)]

        def __iter__(self) -> Iterator[Client]:
            return cast(Iterator[Client], iter(self.all))

    following = asyncio.ensure_future(Many().use_settings())
    seen = []
    while not following.done():
        await turns()
        seen.append(len(done))
    assert seen == [50, 100, 120]


async def test_only_a_logged_in_connection_gets_a_row_and_an_event(key: Path) -> None:
    rows = Rows()
    async with asyncio.timeout(SECONDS), inside_gateway(connections=rows) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ssh_port)
        await reader.readline()
        writer.close()
        await until(lambda: gateway.said("handshake.ended"))
        assert (rows.began, rows.ended, gateway.said("connection.closed")) == ([], [], [])
        async with gateway.client(key):
            assert len(gateway.clients) == len(rows.began) == 1
            assert gateway.client_of(rows.began[0]) is gateway.clients[0]
        await until(lambda: not gateway.clients)
        assert rows.ended == rows.began
        assert [one["connection"] for one in gateway.said("connection.closed")] == rows.ended


async def test_closing_a_tunnel_ends_its_connection_only_if_it_was_the_last(key: Path) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(key) as client:
        assert await client.forward(b"one", 80)
        assert await client.forward(b"two", 80)
        session = await open_session(client)
        assert session is not None
        assert await session.ask(b"shell")
        one, two = gateway.tunnels
        gateway.take_away(one, "closed by the operator")
        assert await client.lives()
        assert session.said.count(b"closed by the operator") == 1
        assert gateway.tunnels == [two]
        gateway.take_away(two, "closed by the operator")
        await client.connection.wait_closed()
        await until(lambda: not gateway.clients)
        assert [one["reason"] for one in gateway.said("connection.closed")] == ["closed by the operator"]


async def test_a_tunnels_client_has_the_origins_of_its_owners_connections(new_key: Callable[[], Path]) -> None:
    key = new_key()
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(key) as client:
        assert await client.forward(b"", gateway.ports.loopback[0])
        (tunnel,) = gateway.tunnels
        assert tunnel.comes_from(THIS_HOST)
        async with gateway.client(key), gateway.client(new_key()):
            _, another, stranger = gateway.clients
            another.origin, stranger.origin = "192.0.2.9", "192.0.2.10"
            assert tunnel.comes_from(THIS_HOST)
            assert tunnel.comes_from("192.0.2.9")
            assert not tunnel.comes_from("192.0.2.10")
        await until(lambda: len(gateway.clients) <= 1)
        assert not tunnel.comes_from("192.0.2.9")


@pytest.mark.parametrize("already_listening", [False, True])
async def test_no_port_opens_once_the_gateway_stops(key: Path, already_listening: bool) -> None:
    ports = NoPorts()
    async with one_client(key, MemoryRegistry(), ports) as (gateway, client):
        ports.but = port = gateway.ports.loopback[0]
        if not already_listening:
            gateway.start_drain()
        asking = asyncio.ensure_future(client.forward(b"", port))
        if already_listening:
            await ports.listening.wait()
            gateway.start_drain()
        ports.let_go.set()
        assert not await asking
        assert [port.closed for port in ports.opened] == [True] * already_listening
        assert [fields["code"] for fields in gateway.said("tunnel.refused")] == ["stopping"]
        await closed(gateway)
        assert await gateway.registry.reservations(None) == []
        assert await client.lives()


async def test_a_stopping_gateway_refuses_newcomers_and_tells_all_clients(
    key: Path,
) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(key) as client:
        port = gateway.ports.loopback[0]
        assert await client.forward(b"blog", 80)
        assert await client.forward(b"", port)
        session = await open_session(client)
        assert session is not None
        assert await session.ask(b"shell")
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        gateway.start_drain()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ssh_port)
        assert b"the gateway is stopping; retry-after=" in await reader.read()
        writer.close()
        assert await client.lives()
        assert b"the gateway is stopping; retry-after=" in session.said
        assert len(gateway.tunnels) == 2
