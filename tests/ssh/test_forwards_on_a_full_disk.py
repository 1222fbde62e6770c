"""Forwards while the database takes no writes: reserved names are served, and leases and releases are written later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from ferry import limits
from ferry.names import Address, Identity, WorkerId
from ferry.registry.contract import UNWRITTEN, Claimed, StoreUnavailable, Taken, Terms
from ferry.ssh.tunnel import SshTunnel
from inside_gateway import SECONDS, Inside, inside_gateway
from memory_registry import MemoryRegistry
from raw_client import RawClient
from raw_session import open_session
from ssh.forward_stage import (
    BLOG,
    STRANGER,
    TERMS,
    TRIAL,
    NoPorts,
    closed,
    one_client,
    own_and_leave,
    refusals,
)
from turns import turns, until


class FullDisk(MemoryRegistry):
    """Takes no writes while `full`, and no claims while `claims_fail`; while `lost`, it cannot be read either."""

    full = lost = claims_fail = False
    tried = 0
    """How often something was to be written."""

    def _write(self, *, claim: bool = False) -> None:
        self.tried += 1
        if self.full or self.lost or (claim and self.claims_fail):
            raise StoreUnavailable("full", public="the gateway's disk is full", readable=not self.lost)

    async def claim(
        self, address: Address, identity: Identity, worker: WorkerId, *, now: float, terms: Terms
    ) -> Claimed | Taken:
        self._write(claim=True)
        return await super().claim(address, identity, worker, now=now, terms=terms)

    async def would_refuse(self, address: Address, identity: Identity, *, now: float, terms: Terms) -> Taken | None:
        self._write(claim=True)
        return await super().would_refuse(address, identity, now=now, terms=terms)

    async def release(self, address: Address, generation: int, *, now: float, used: bool = True) -> bool:
        self._write()
        return await super().release(address, generation, now=now, used=used)

    async def undo(self, address: Address, generation: int) -> bool:
        self._write()
        return await super().undo(address, generation)

    async def reserve(self, address: Address, generation: int, *, now: float, terms: Terms) -> bool:
        self._write()
        return await super().reserve(address, generation, now=now, terms=terms)


async def served_without_a_lease(gateway: Inside, client: RawClient, registry: FullDisk) -> SshTunnel:
    """The disk is full from now on; `blog` is served for it is the client's."""
    await own_and_leave(gateway, client)
    registry.full = True
    assert await client.forward(b"blog", 80)
    [tunnel] = gateway.tunnels
    return tunnel


async def test_an_address_that_could_not_be_released_is_released_later(key: Path) -> None:
    """A claim whose port failed while the disk was full: the reservation that it made goes too."""
    registry, ports = FullDisk(), NoPorts()
    async with one_client(key, registry, ports) as (gateway, client):
        asking = asyncio.ensure_future(client.forward(b"", gateway.ports.loopback[0]))
        await ports.listening.wait()
        registry.full = True
        ports.let_go.set()
        assert not await asking
        assert len(await registry.reservations(None)) == len(gateway.pending_releases) == 1
        await gateway.write_late()
        assert len(gateway.pending_releases) == 1  # in vain
        registry.full = False
        await gateway.write_late()
        assert await registry.reservations(None) == []
        assert not gateway.pending_releases
        assert len(gateway.said("name.freed")) == 1


async def test_a_late_release_spares_a_newer_tunnel_without_a_lease(key: Path) -> None:
    """The name is served anew, without a lease for the disk is full: its reservation is all that there is."""
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, first), gateway.client(key) as second:
        assert await first.forward(b"blog", 80)
        registry.full = True
        assert (await first.connection.run("lss", check=False)).exit_status == 1
        await closed(gateway)
        assert await second.forward(b"blog", 80)
        [tunnel] = gateway.tunnels
        assert tunnel.claim.generation == UNWRITTEN
        assert len(gateway.pending_releases) == 1
        registry.full, registry.claims_fail = False, True
        await gateway.write_late()
        assert [found.address for found in await registry.reservations(None)] == [BLOG]
        assert not gateway.pending_releases
        registry.claims_fail = False
        await gateway.write_late()
        lease = await registry.lookup(BLOG)
        assert lease is not None
        assert lease.generation == tunnel.claim.generation != UNWRITTEN


async def test_pending_releases_are_bounded(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PENDING_RELEASES", 2)
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        for name in (b"one", b"two", b"three"):
            assert await client.forward(name, 80)
        registry.full = True
        for name in (b"one", b"two", b"three"):
            assert await client.cancel(name, 80)
            await closed_one(gateway, name)
        assert [pending.address.name for pending in gateway.pending_releases] == ["two.localhost", "three.localhost"]


async def test_as_shipped_the_number_of_pending_releases(key: Path) -> None:
    """PENDING_RELEASES."""
    async with one_client(key, MemoryRegistry()) as (gateway, _):
        assert gateway.pending_releases.maxlen == 65_536


async def closed_one(gateway: Inside, name: bytes) -> None:
    await until(lambda: not any(name.decode() in task.get_name() for task in asyncio.all_tasks()))


async def test_on_a_full_disk_only_own_reservations_are_served(
    new_key: Callable[[], Path],
) -> None:
    registry = FullDisk()
    ann, bob = new_key(), new_key()
    async with one_client(ann, registry) as (gateway, owner), gateway.client(bob) as stranger:
        await own_and_leave(gateway, owner)
        registry.full = True
        assert not await stranger.forward(b"blog", 80)
        assert not await owner.forward(b"other", 80)
        assert refusals(gateway) == ["store", "store"]
        assert await owner.forward(b"blog", 80)
        registry.full = False
        await gateway.write_late()
        lease = await registry.lookup(BLOG)
        assert lease is not None
        assert lease.generation == gateway.tunnels[0].claim.generation


async def test_explain_says_on_a_full_disk_what_the_forward_gets(key: Path) -> None:
    async def explained(name: str) -> tuple[int | None, str]:
        told = await client.connection.run(f"explain -R {name}:80:localhost:9")
        return told.exit_status, str(told.stdout)

    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        await own_and_leave(gateway, client)
        registry.full = True
        assert (await explained("blog"))[0] == 0
        code, said = await explained("other")
        assert (code, "the gateway's disk is full" in said) == (1, True)
        registry.lost = True
        assert (await explained("blog"))[0] == 1
        assert [reservation.address for reservation in await registry.reservations(None)] == [BLOG]


async def test_on_a_full_disk_another_identitys_lease_is_respected(key: Path) -> None:
    """Its reservation ran out and was claimed anew, without being reserved: the holder of the lease has it."""
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        await registry.claim(BLOG, STRANGER, WorkerId("w"), now=gateway.clock.now(), terms=TRIAL)
        assert not await client.forward(b"blog", 80)
        registry.full = True
        assert not await client.forward(b"blog", 80)
        assert refusals(gateway) == ["name_live", "store"]


async def test_nothing_is_served_while_the_database_cannot_be_read(key: Path) -> None:
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        await own_and_leave(gateway, client)
        registry.lost = True
        assert not await client.forward(b"blog", 80)
        assert refusals(gateway) == ["store"]
        assert await client.lives()


async def test_a_name_claimed_by_another_identity_before_its_lease_was_written_is_closed(key: Path) -> None:
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        tunnel = await served_without_a_lease(gateway, client, registry)
        registry.full = False
        assert await registry.free(BLOG, tunnel.owner)
        won = await registry.claim(BLOG, STRANGER, WorkerId("w"), now=gateway.clock.now(), terms=TERMS)
        assert isinstance(won, Claimed)
        await gateway.write_late()
        await closed(gateway)
        assert await registry.lookup(BLOG) == won.lease
        await client.connection.wait_closed()
        [ended] = gateway.said("connection.closed")
        assert "belongs to somebody else" in str(ended["reason"])


async def test_a_name_that_another_identity_claims_here_before_its_lease_was_written_is_lost_to_it(
    new_key: Callable[[], Path],
) -> None:
    """The holder hears whose the name is, and nothing about the connection of the other identity."""
    registry = FullDisk()
    async with one_client(new_key(), registry) as (gateway, client), gateway.client(new_key()) as other:
        tunnel = await served_without_a_lease(gateway, client, registry)
        session = await open_session(client)
        assert session is not None
        assert await session.ask(b"shell")
        registry.full = False
        assert await registry.free(BLOG, tunnel.owner)
        assert await other.forward(b"blog", 80)
        await client.connection.wait_closed()
        [now] = gateway.tunnels
        assert (tunnel.closed, now.owner != tunnel.owner) == (True, True)
        assert b"blog.localhost belongs to somebody else" in session.said
        assert b"taken over" not in session.said
        assert gateway.said("tunnel.takeover") == []
        await until(lambda: gateway.said("connection.closed"))
        [ended] = gateway.said("connection.closed")
        assert "belongs to somebody else" in str(ended["reason"])
        lease = await registry.lookup(BLOG)
        assert lease is not None
        assert lease.generation == now.claim.generation


async def test_a_tunnel_without_a_lease_leaves_no_pending_release(key: Path) -> None:
    """It would push the release of a lease that is there out of the bounded queue."""
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        await served_without_a_lease(gateway, client, registry)
        registry.tried = 0
        assert await client.cancel(b"blog", 80)
        await closed(gateway)
        assert (list(gateway.pending_releases), registry.tried) == ([], 0)


async def test_a_failed_port_of_a_claim_without_a_lease_leaves_no_pending_release(key: Path) -> None:
    registry, ports = FullDisk(), NoPorts(at_once=True)
    async with one_client(key, registry) as (gateway, client):
        port = gateway.ports.loopback[0]
        assert await client.forward(b"", port)
        assert await client.cancel(b"", port)
        await closed(gateway)
        gateway.change(ports=ports)
        registry.full = True
        assert not await client.forward(b"", port)
        assert refusals(gateway) == ["port_in_use"]
        assert list(gateway.pending_releases) == []


async def test_a_tunnel_that_closed_before_its_lease_was_written_claims_nothing(key: Path) -> None:
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        tunnel = await served_without_a_lease(gateway, client, registry)
        registry.full = False
        registry.tried = 0
        async with gateway.deciding(tunnel.owner):
            late = asyncio.ensure_future(gateway.write_late())
            await turns()  # it waits
            assert await client.cancel(b"blog", 80)
            await closed(gateway)
            assert not late.done()
        await late
        assert (registry.tried, await registry.lookup(BLOG)) == (0, None)
        gateway.close_forward(tunnel, "once more")
        assert len(gateway.said("tunnel.closed")) == 2  # once each


async def test_late_writing_tries_one_lease_on_a_full_disk_and_all_after_it(key: Path) -> None:
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        for name in (b"one", b"two", b"three"):
            assert await client.forward(name, 80)
            assert await client.cancel(name, 80)
        await closed(gateway)
        registry.full = True
        for name in (b"one", b"two", b"three"):
            assert await client.forward(name, 80)
        registry.tried = 0
        await gateway.write_late()
        assert registry.tried == 1
        registry.full = False
        await gateway.write_late()
        leases = [await registry.lookup(tunnel.address) for tunnel in gateway.tunnels]
        generations = [tunnel.claim.generation for tunnel in gateway.tunnels]
        assert [lease and lease.generation for lease in leases] == generations
        assert UNWRITTEN not in generations


async def test_a_tunnel_that_closes_while_its_lease_is_written_gives_it_back(key: Path) -> None:
    class Slow(FullDisk):
        claimed, let_go = asyncio.Event(), asyncio.Event()

        async def claim(
            self, address: Address, identity: Identity, worker: WorkerId, *, now: float, terms: Terms
        ) -> Claimed | Taken:
            outcome = await super().claim(address, identity, worker, now=now, terms=terms)
            if late:
                self.claimed.set()
                await self.let_go.wait()
            return outcome

    registry, late = Slow(), False
    async with one_client(key, registry) as (gateway, client):
        await served_without_a_lease(gateway, client, registry)
        registry.full, late = False, True
        writing = asyncio.ensure_future(gateway.write_late())
        await registry.claimed.wait()
        assert await client.cancel(b"blog", 80)
        await closed(gateway)
        registry.let_go.set()
        await writing
        assert await registry.lookup(BLOG) is None


async def test_a_name_left_on_a_full_disk_is_released_later(key: Path) -> None:
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        assert await client.forward(b"blog", 80)
        registry.full = True
        assert await client.cancel(b"blog", 80)
        await closed(gateway)
        assert await registry.lookup(BLOG) is not None
        registry.full = False
        await gateway.write_late()
        assert await registry.lookup(BLOG) is None
        assert len(await registry.reservations(None)) == 1


async def test_a_trial_that_cannot_be_ended_on_a_full_disk_is_ended_later(key: Path) -> None:
    registry = FullDisk()
    async with asyncio.timeout(SECONDS), inside_gateway(registry=registry) as gateway:
        gateway.change(reserve_after=0.001)
        async with gateway.client(key) as client:
            assert await client.forward(b"blog", 80)
            assert await registry.reservations(None) == []
            [tunnel] = gateway.tunnels
            trial_until = tunnel.claim.trial_until
            assert trial_until is not None
            await until(lambda: gateway.clock.monotonic() >= trial_until)
            registry.full = True
            await gateway.write_late()
            assert await registry.reservations(None) == []
            registry.full = False
            await gateway.write_late()
            assert [found.address for found in await registry.reservations(None)] == [BLOG]
            await gateway.write_late()
            assert len(gateway.said("name.reserved")) == 1


async def test_a_slow_database_or_identity_never_holds_up_the_tick(key: Path) -> None:
    """Everybody's deadlines hang on the tick; only what is written late waits for a lock or for the disk."""
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        tunnel = await served_without_a_lease(gateway, client, registry)
        async with gateway.deciding(tunnel.owner):
            late = asyncio.ensure_future(gateway.write_late())
            for _ in range(3):
                await gateway.tick()
            assert not late.done()
            registry.full = False
        await late
        assert tunnel.claim.generation != UNWRITTEN


async def test_a_client_without_a_key_keeps_no_name(key: Path) -> None:
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, _), gateway.client(key, username="nokey") as nobody:
        assert await nobody.forward(b"blog", 80)
        assert await registry.reservations(None) == []
        assert await nobody.cancel(b"blog", 80)
        await closed(gateway)
        registry.full = True
        assert not await nobody.forward(b"blog", 80)
        assert refusals(gateway) == ["store"]
