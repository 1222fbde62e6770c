"""The tunnels of a worker: holders of addresses, their ends, and undecided forwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ferry.names import Address, ConnectionId, Endpoint, IdentityId, Kind, WorkerId
from ferry.registry.holders import Taker
from ferry.ssh.local_holders import LocalHolders
from ferry.ssh.tunnel import SshTunnel
from ferry.ssh.tunnels import Tunnels
from inside_gateway import SECONDS, inside_gateway
from memory_registry import MemoryRegistry
from raw_session import open_session
from ssh.forward_stage import BLOG, NoPorts, closed, one_client
from turns import until

T = TypeVar("T")


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What it returns, without a turn of the loop for anybody else."""
    with pytest.raises(StopIteration) as returned:
        coroutine.send(None)
    result: T = returned.value.value
    return result


async def test_an_address_is_never_seen_half_taken_over(key: Path) -> None:
    async with one_client(key, MemoryRegistry()) as (gateway, client):
        assert await client.forward(b"blog", 80)
        [tunnel], [owner] = gateway.tunnels, gateway.clients
        holder = at_once(gateway.worker.tunnels.holders.at(BLOG))
        assert holder is not None
        assert (holder.identity, holder.connection, holder.peer) == (tunnel.owner, owner.id, owner.peer)
        assert at_once(gateway.worker.tunnels.holders.addresses_of(tunnel.owner)) == [BLOG]
        other = Taker(ConnectionId("other"), owner.identity.id, Endpoint("192.0.2.1", 50022))
        at_once(holder.give_way(other))
        assert tunnel.closed
        assert gateway.routes.get(BLOG) is None
        assert at_once(gateway.worker.tunnels.holders.at(BLOG)) is None
        assert at_once(gateway.worker.tunnels.holders.addresses_of(tunnel.owner)) == []
        [told] = gateway.said("tunnel.takeover")
        assert (told["connection"], told["previous"]) == (other.connection, owner.id)


class Elsewhere(LocalHolders[Any]):
    """`blog` is served by another worker, for the same identity."""

    def __init__(self, identity: IdentityId) -> None:
        super().__init__()
        self.identity = identity
        self.connection, self.peer = ConnectionId("elsewhere"), Endpoint("192.0.2.1", 50022)
        self.silent_for = 0.0
        self.takers: list[Taker] = []
        self.add(BLOG, self)

    async def alive(self, _seconds: float) -> bool:
        return True

    async def give_way(self, to: Taker) -> None:
        self.takers.append(to)


@pytest.mark.parametrize("own", [True, False])
async def test_a_holder_in_another_worker_gives_way_too(key: Path, *, own: bool) -> None:
    """One of the same identity is told to the owner; one of another, from which the registry took the address, is not."""
    async with one_client(key, MemoryRegistry()) as (gateway, _):
        [owner] = gateway.clients
        elsewhere = Elsewhere(owner.identity.id if own else IdentityId("other"))
        tunnels = Tunnels(
            worker=WorkerId("here"),
            clock=gateway.clock,
            report=gateway.worker.report,
            registry=gateway.registry,
            routes=gateway.routes,
            secret=b"secret",
            in_force=gateway.worker.settings,
            holders=elsewhere,
        )
        tunnel = await tunnels.open(owner, b"blog", 80)
        assert isinstance(tunnel, SshTunnel)
        assert tunnel.taken_from == ("taken over from your connection from 192.0.2.1:50022" if own else "")
        assert elsewhere.takers == [Taker(owner.id, owner.identity.id, owner.peer)]
        tunnels.close_all_of(owner, "the test is over", cut=True)


async def test_the_tunnels_of_an_identity_are_those_of_its_oldest_connection_first(
    new_key: Callable[[], Path],
) -> None:
    key = new_key()
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway() as gateway,
        gateway.client(key) as first,
        gateway.client(key) as second,
        gateway.client(new_key()) as stranger,
    ):
        for client, name in ((second, b"two"), (first, b"one"), (stranger, b"other"), (second, b"three")):
            assert await client.forward(name, 80)
        of_both = gateway.worker.tunnels.of(gateway.clients[0].identity.id)
        assert [str(tunnel.address) for tunnel in of_both] == ["one.localhost", "two.localhost", "three.localhost"]
        assert len(list(gateway.worker.tunnels)) == 4


async def test_a_decision_that_is_cancelled_leaves_nothing(key: Path) -> None:
    registry, ports = MemoryRegistry(), NoPorts()
    async with one_client(key, registry, ports) as (gateway, _):
        [owner], port = gateway.clients, gateway.ports.loopback[0]
        opening = asyncio.ensure_future(gateway.worker.tunnels.open(owner, b"", port))
        await ports.listening.wait()
        assert len(await registry.reservations(None)) == 1
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert await registry.reservations(None) == []
        assert await registry.lookup(Address(Kind.TCP, "", port)) is None
        assert (len(gateway.routes.by_address), len(list(gateway.worker.tunnels))) == (0, 0)


async def test_a_second_close_of_a_tunnel_does_nothing(key: Path) -> None:
    async with one_client(key, MemoryRegistry()) as (gateway, client):
        assert await client.forward(b"one", 80)
        assert await client.forward(b"two", 80)
        one, two = gateway.tunnels
        for _ in range(2):
            gateway.take_away(one, "taken")
        assert len(gateway.said("tunnel.closed")) == 1
        assert gateway.tunnels == [two]
        assert await client.lives()
        gateway.take_away(two, "taken")
        await closed(gateway)
        await client.connection.wait_closed()


async def test_an_owner_hears_of_a_socks_proxy_on_a_closed_tunnel(key: Path) -> None:
    """A SOCKS proxy that answers a visitor who came before the tunnel closed."""
    async with one_client(key, MemoryRegistry()) as (gateway, client):
        assert await client.forward(b"", gateway.ports.loopback[0])
        session = await open_session(client)
        assert session is not None
        assert await session.ask(b"shell")
        [tunnel] = gateway.tunnels
        gateway.close_forward(tunnel, "taken over")
        gateway.take_away(tunnel, "a SOCKS proxy answered there")
        assert await client.lives()
        assert session.said.count(b"a SOCKS proxy answered there") == 1
        assert len(gateway.said("tunnel.closed")) == 1


async def test_a_client_that_waits_for_a_decision_stays_when_its_only_tunnel_is_taken_away(key: Path) -> None:
    ports = NoPorts()
    async with one_client(key, MemoryRegistry(), ports) as (gateway, client):
        assert await client.forward(b"blog", 80)
        asking = asyncio.ensure_future(client.forward(b"", gateway.ports.loopback[0]))
        await ports.listening.wait()
        gateway.take_away(gateway.tunnels[0], "taken")
        await closed(gateway)
        ports.code = "port_denied"
        ports.let_go.set()
        assert not await asking
        assert await client.lives()


async def test_a_report_that_fails_leaves_no_tunnel_half_open(key: Path) -> None:
    registry = MemoryRegistry()
    async with one_client(key, registry) as (gateway, client):
        gateway.failing.add("tunnel.opened")
        assert not await client.forward(b"blog", 80)
        await closed(gateway)
        assert (len(gateway.routes.by_address), list(gateway.worker.tunnels)) == (0, [])
        assert await registry.lookup(BLOG) is None
        assert await registry.reservations(None) == []
        gateway.failing.clear()
        assert await client.forward(b"blog", 80)


async def test_one_tunnel_that_fails_to_close_keeps_none_of_its_connections_others(key: Path) -> None:
    registry = MemoryRegistry()
    async with one_client(key, registry) as (gateway, client):
        assert await client.forward(b"one", 80)
        assert await client.forward(b"two", 80)
        tunnels = gateway.tunnels
        gateway.failing.add("tunnel.closed")
        client.connection.abort()
        await until(lambda: not gateway.clients)
        await closed(gateway)
        assert all(tunnel.closed for tunnel in tunnels)
        assert (len(gateway.routes.by_address), list(gateway.worker.tunnels)) == (0, [])
        assert [await registry.lookup(tunnel.address) for tunnel in tunnels] == [None, None]
