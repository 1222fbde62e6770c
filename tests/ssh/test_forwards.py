"""Forwards that fail on their way, or are not wanted once they are there: whatever was claimed is given back, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from asyncssh.constants import MSG_GLOBAL_REQUEST
from asyncssh.packet import Boolean, String, UInt32

from ferry import limits
from ferry.clock import SystemClock
from ferry.errors import Refused
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind, WorkerId
from ferry.registry.contract import UNWRITTEN, Claimed, StoreUnavailable, Taken, Terms
from ferry.registry.memory import MemoryRegistry
from ferry.registry.routes import Tunnel
from ferry.ssh.forwards import close_forward, give_back_late, write_lease
from ferry.ssh.tunnel import SshTunnel
from inside_gateway import SECONDS, Inside, inside_gateway
from raw_client import RawClient

BLOG = Address(Kind.HTTP, "blog.localhost")
KEEP = 86400.0
STRANGER = Identity(IdentityId("stranger"), None, Fingerprint("SHA256:stranger"))
TERMS = Terms(keep=KEEP, rest=KEEP, reserve=True, derived=False, max_reservations=9)
TRIAL = replace(TERMS, reserve=False)


class SlowRegistry(MemoryRegistry):
    """Gives nothing back before it is told to, as behind a slow disk. `giving_back` is set when it is asked to,
    `given_back` when a claim was undone."""

    def __init__(self) -> None:
        super().__init__()
        self.giving_back, self.let_go, self.given_back = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def _wait(self) -> None:
        self.giving_back.set()
        await self.let_go.wait()

    async def release(self, address: Address, generation: int, *, now: float) -> bool:
        await self._wait()
        return await super().release(address, generation, now=now)

    async def undo(self, address: Address, generation: int) -> bool:
        await self._wait()
        undone = await super().undo(address, generation)
        self.given_back.set()
        return undone


async def test_undoing_one_forward_leaves_a_newer_one_its_reservation(key: Path) -> None:
    """Two connections of one key ask for one name, the first with a word that nobody knows: what it had reserved is
    given back after the second has the name."""
    registry = SlowRegistry()
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(registry=registry) as gateway,
        gateway.client(key) as first,
        gateway.client(key) as second,
    ):
        assert await first.forward(b"blog", 80)
        wrong = await first.connection.run("lss", check=False)
        assert wrong.exit_status == 1
        await registry.giving_back.wait()
        assert await second.forward(b"blog", 80)
        registry.let_go.set()
        await registry.given_back.wait()
        refused = await registry.claim(BLOG, STRANGER, WorkerId("w"), now=0, terms=TERMS)
        assert isinstance(refused, Taken)
        [mine] = await registry.reservations(None)
        assert mine.address == BLOG


class FullDisk(MemoryRegistry):
    """Takes no writes while `full`; while `lost`, it cannot be read either."""

    full = lost = False

    def _write(self) -> None:
        if self.full or self.lost:
            raise StoreUnavailable("full", public="the gateway's disk is full", readable=not self.lost)

    async def claim(
        self, address: Address, identity: Identity, worker: WorkerId, *, now: float, terms: Terms
    ) -> Claimed | Taken:
        self._write()
        return await super().claim(address, identity, worker, now=now, terms=terms)

    async def release(self, address: Address, generation: int, *, now: float) -> bool:
        self._write()
        return await super().release(address, generation, now=now)

    async def undo(self, address: Address, generation: int) -> bool:
        self._write()
        return await super().undo(address, generation)

    async def reserve(self, address: Address, generation: int, *, now: float, terms: Terms) -> bool:
        self._write()
        return await super().reserve(address, generation, now=now, terms=terms)


class NoPorts:
    """Opens no port: `listening` is set when one is asked for, which fails once `let_go` is."""

    def __init__(self, code: str = "port_in_use", *, but: int = 0) -> None:
        self.code, self.but = code, but
        self.listening, self.let_go = asyncio.Event(), asyncio.Event()
        self.asked: list[int] = []
        self.opened: list[_Port] = []

    async def listen(self, tunnel: Tunnel, port: int, *, loopback: bool) -> _Port:
        del tunnel, loopback
        self.asked.append(port)
        self.listening.set()
        await self.let_go.wait()
        if port != self.but and len(self.asked) <= 3:
            raise Refused("no", code=self.code)
        self.opened.append(_Port())
        return self.opened[-1]


class _Port:
    closed: bool | None = None
    """With or without its visitors."""

    def close(self, *, cut: bool) -> None:
        self.closed = cut

    def __len__(self) -> int:
        return 0


def with_ports(gateway: Inside, ports: NoPorts) -> None:
    """For clients who come from now on."""
    gateway.front.use(replace(gateway.front.services, ports=ports))


def refusals(gateway: Inside) -> list[object]:
    return [fields["code"] for fields in gateway.said("tunnel.refused")]


async def closed(gateway: Inside) -> None:
    """Until no tunnel is left, and everything that closing one has begun is done."""
    async with asyncio.timeout(SECONDS):
        while gateway.tunnels or any(task.get_name().startswith("release") for task in asyncio.all_tasks()):
            await asyncio.sleep(0)


@asynccontextmanager
async def one_client(key: Path, registry: MemoryRegistry) -> AsyncIterator[tuple[Inside, RawClient]]:
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(registry=registry) as gateway,
        gateway.client(key) as client,
    ):
        yield gateway, client


async def own_and_leave(gateway: Inside, client: RawClient) -> None:
    """`blog` is reserved for the client, and not served."""
    assert await client.forward(b"blog", 80)
    assert await client.cancel(b"blog", 80)
    await closed(gateway)


async def served_without_a_lease(gateway: Inside, client: RawClient, registry: FullDisk) -> SshTunnel:
    """The disk is full from now on; `blog` is served for it is the client's."""
    await own_and_leave(gateway, client)
    registry.full = True
    assert await client.forward(b"blog", 80)
    [tunnel] = gateway.tunnels
    return tunnel


async def test_a_port_that_cannot_listen_is_given_back_with_its_reservation(key: Path) -> None:
    registry = MemoryRegistry()
    async with asyncio.timeout(SECONDS), inside_gateway(registry=registry) as gateway:
        ports = NoPorts()
        ports.let_go.set()
        with_ports(gateway, ports)
        async with gateway.client(key) as client:
            port = gateway.ports.loopback[0]
            assert not await client.forward(b"", port)
            assert refusals(gateway) == ["port_in_use"]
            assert await registry.reservations(None) == []
            assert await registry.lookup(Address(Kind.TCP, "", port)) is None
            assert gateway.tunnels == []
            assert len(gateway.routes) == 0


async def test_a_port_of_our_choice_that_is_in_use_is_followed_by_the_next(key: Path) -> None:
    registry = MemoryRegistry()
    async with asyncio.timeout(SECONDS), inside_gateway(registry=registry) as gateway:
        ports = NoPorts()
        ports.let_go.set()
        with_ports(gateway, ports)
        async with gateway.client(key) as client:
            assert await client.forward(b"", 0)
            assert len(set(ports.asked)) == 4
            assert [found.address.port for found in await registry.reservations(None)] == ports.asked[3:]
            # what it had is asked for first, and is still its own: another is given for the second forward
            assert await client.forward(b"", 0)
            assert len({tunnel.address for tunnel in gateway.tunnels}) == 2


async def test_a_port_of_our_choice_that_may_not_be_opened_is_not_tried_elsewhere(key: Path) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        ports = NoPorts("port_forbidden")
        ports.let_go.set()
        with_ports(gateway, ports)
        async with gateway.client(key) as client:
            assert not await client.forward(b"", 0)
            assert len(ports.asked) == 1
            assert refusals(gateway) == ["port_forbidden"]


async def test_a_client_that_leaves_while_its_port_opens_leaves_nothing(key: Path) -> None:
    registry = MemoryRegistry()
    async with asyncio.timeout(SECONDS), inside_gateway(registry=registry) as gateway:
        port = gateway.ports.loopback[0]
        ports = NoPorts(but=port)
        with_ports(gateway, ports)
        async with gateway.client(key) as client:
            client.send(MSG_GLOBAL_REQUEST, String(b"tcpip-forward"), Boolean(True), String(b""), UInt32(port))
            await ports.listening.wait()
        while gateway.clients:
            await asyncio.sleep(0)
        ports.let_go.set()
        while not gateway.said("tunnel.refused"):
            await asyncio.sleep(0)
        assert refusals(gateway) == ["gone"]
        assert [opened.closed for opened in ports.opened] == [True]
        assert await registry.reservations(None) == []
        assert await registry.lookup(Address(Kind.TCP, "", port)) is None
        assert len(gateway.routes) == 0


async def test_what_could_not_be_given_back_is_given_back_later(key: Path) -> None:
    """A claim whose port failed while the disk was full: the reservation that it made goes too."""
    registry = FullDisk()
    async with asyncio.timeout(SECONDS), inside_gateway(registry=registry) as gateway:
        ports = NoPorts()
        with_ports(gateway, ports)
        async with gateway.client(key) as client:
            asking = asyncio.ensure_future(client.forward(b"", gateway.ports.loopback[0]))
            await ports.listening.wait()
            registry.full = True
            ports.let_go.set()
            assert not await asking
            assert len(await registry.reservations(None)) == len(gateway.front.owed) == 1
            await gateway.front.write_late()
            assert len(gateway.front.owed) == 1  # in vain
            registry.full = False
            await gateway.front.write_late()
            assert await registry.reservations(None) == []
            assert not gateway.front.owed
            assert len(gateway.said("name.freed")) == 1


async def test_what_is_given_back_late_spares_whoever_asked_again_without_a_lease(key: Path) -> None:
    """The name is served anew, without a lease for the disk is full: its reservation is all that there is."""
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, first), gateway.client(key) as second:
        assert await first.forward(b"blog", 80)
        registry.full = True
        assert (await first.connection.run("lss", check=False)).exit_status == 1
        await closed(gateway)
        assert await second.forward(b"blog", 80)
        [tunnel] = gateway.tunnels
        assert tunnel.generation == UNWRITTEN
        assert len(gateway.front.owed) == 1
        registry.full = False
        await give_back_late(gateway.front)
        assert [found.address for found in await registry.reservations(None)] == [BLOG]
        await gateway.front.write_late()
        lease = await registry.lookup(BLOG)
        assert lease is not None
        assert lease.generation == tunnel.generation != UNWRITTEN


async def test_addresses_that_are_owed_are_bounded(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ADDRESSES_OWED", 2)
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        for name in (b"one", b"two", b"three"):
            assert await client.forward(name, 80)
        registry.full = True
        for name in (b"one", b"two", b"three"):
            assert await client.cancel(name, 80)
            await closed_one(gateway, name)
        assert [owed.address.name for owed in gateway.front.owed] == ["two.localhost", "three.localhost"]


async def closed_one(gateway: Inside, name: bytes) -> None:
    while any(name.decode() in task.get_name() for task in asyncio.all_tasks()):
        await asyncio.sleep(0)


async def test_on_a_full_disk_only_what_is_reserved_for_the_asker_is_served(
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
        await gateway.front.write_late()
        lease = await registry.lookup(BLOG)
        assert lease is not None
        assert lease.generation == gateway.tunnels[0].generation


async def test_a_lease_of_somebody_else_is_not_served_over_on_a_full_disk(key: Path) -> None:
    """Its reservation ran out and was claimed anew, without being reserved: whoever holds the lease has it."""
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        await registry.claim(BLOG, STRANGER, WorkerId("w"), now=gateway.front.services.clock.now(), terms=TRIAL)
        assert not await client.forward(b"blog", 80)
        registry.full = True
        assert not await client.forward(b"blog", 80)
        assert refusals(gateway) == ["name_live", "store"]


async def test_where_nothing_can_be_read_nothing_is_served(key: Path) -> None:
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        await own_and_leave(gateway, client)
        registry.lost = True
        assert not await client.forward(b"blog", 80)
        assert refusals(gateway) == ["store"]
        assert await client.lives()


async def test_a_name_that_went_to_somebody_else_before_its_lease_was_written_is_closed(key: Path) -> None:
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        tunnel = await served_without_a_lease(gateway, client, registry)
        registry.full = False
        assert await registry.free(BLOG, tunnel.identity.id)
        won = await registry.claim(BLOG, STRANGER, WorkerId("w"), now=gateway.front.services.clock.now(), terms=TERMS)
        assert isinstance(won, Claimed)
        await gateway.front.write_late()
        await closed(gateway)
        assert await registry.lookup(BLOG) == won.lease
        await client.connection.wait_closed()
        [ended] = gateway.said("connection.closed")
        assert "belongs to somebody else" in str(ended["reason"])


async def test_a_tunnel_that_closed_before_its_lease_was_written_claims_nothing(key: Path) -> None:
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        tunnel = await served_without_a_lease(gateway, client, registry)
        assert await client.cancel(b"blog", 80)
        await closed(gateway)
        registry.full = False
        assert await write_lease(tunnel)
        assert await registry.lookup(BLOG) is None
        close_forward(tunnel, "once more")
        assert len(gateway.said("tunnel.closed")) == 2  # once each


async def test_one_connection_has_a_name_or_a_port_once(key: Path) -> None:
    async with one_client(key, MemoryRegistry()) as (gateway, client):
        port = gateway.ports.loopback[0]
        assert await client.forward(b"blog", 80)
        assert not await client.forward(b"blog", 80)
        assert await client.forward(b"", port)
        assert not await client.forward(b"localhost", port)
        assert refusals(gateway) == ["duplicate", "duplicate"]
        assert len(gateway.tunnels) == 2


async def test_a_name_of_our_choice_is_not_taken_from_a_connection_that_is_there(key: Path) -> None:
    async with one_client(key, MemoryRegistry()) as (gateway, first), gateway.client(key) as second:
        assert await first.forward(b"", 80)
        assert await second.forward(b"", 80)
        assert len({tunnel.address for tunnel in gateway.tunnels}) == 2
        assert await first.forward(b"localhost", 80)
        assert len({tunnel.address for tunnel in gateway.tunnels}) == 3
        assert not await first.forward(b"localhost", 80)  # stock ssh would send both to one target
        assert refusals(gateway) == ["duplicate"]


async def test_the_name_that_was_given_before_is_given_again(key: Path) -> None:
    registry = MemoryRegistry()
    async with one_client(key, registry) as (gateway, client):
        assert await client.forward(b"", 80)
        [before] = gateway.tunnels
        assert await client.forward(b"blog", 80)
        assert await client.cancel(b"", 80)
        assert await client.cancel(b"blog", 80)
        await closed(gateway)
        assert await client.forward(b"", 80)
        assert [tunnel.address for tunnel in gateway.tunnels] == [before.address]


@pytest.mark.parametrize(("most", "code"), [(1, "name_over_limit"), (9, None)])
async def test_names_of_our_choice_count_too(key: Path, most: int, code: str | None) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        services = gateway.front.services
        gateway.front.use(replace(services, rules=replace(services.rules, reservations_per_identity=most)))
        async with gateway.client(key) as client:
            assert await client.forward(b"", 80)
            assert await client.forward(b"localhost", 80) is (code is None)
            assert refusals(gateway) == ([] if code is None else [code])


async def test_a_trial_that_cannot_be_ended_on_a_full_disk_is_ended_later(key: Path) -> None:
    registry = FullDisk()
    async with asyncio.timeout(SECONDS), inside_gateway(registry=registry) as gateway:
        services = gateway.front.services
        gateway.front.use(replace(services, rules=replace(services.rules, reserve_after=0.001)))
        async with gateway.client(key) as client:
            assert await client.forward(b"blog", 80)
            assert await registry.reservations(None) == []
            [tunnel] = gateway.tunnels
            assert tunnel.trial_until is not None
            while services.clock.monotonic() < tunnel.trial_until:
                await asyncio.sleep(0)
            registry.full = True
            await gateway.front.write_late()
            assert await registry.reservations(None) == []
            registry.full = False
            await gateway.front.write_late()
            assert [found.address for found in await registry.reservations(None)] == [BLOG]
            await gateway.front.write_late()
            assert len(gateway.said("name.reserved")) == 1


async def test_a_slow_database_or_identity_never_holds_up_the_tick(key: Path) -> None:
    """Everybody's deadlines hang on the tick; only what is written late waits for a lock or for the disk."""
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, client):
        tunnel = await served_without_a_lease(gateway, client, registry)
        async with gateway.front.locks(tunnel.identity.id):
            late = asyncio.ensure_future(gateway.front.write_late())
            for _ in range(3):
                await gateway.front.tick()
            assert not late.done()
            registry.full = False
        await late
        assert tunnel.generation != UNWRITTEN


async def test_a_login_name_means_the_web_address_that_is_owned_already_and_nothing_else(key: Path) -> None:
    registry = MemoryRegistry()
    async with one_client(key, registry) as (gateway, client):
        assert await client.forward(b"", 80)
        [ours] = gateway.tunnels
        assert ours.address.name != "dev.localhost"  # `dev@` claims nothing
        assert await client.forward(b"dev", 80)
        assert await client.cancel(b"", 80)
        assert await client.cancel(b"dev", 80)
        await closed(gateway)
        assert await client.forward(b"", 0)
        assert [tunnel.address.kind for tunnel in gateway.tunnels] == [Kind.TCP]
        assert await client.forward(b"", 80)
        assert [tunnel.address.name for tunnel in gateway.tunnels[1:]] == ["dev.localhost"]


async def test_a_login_name_of_somebody_else_claims_nothing(key: Path) -> None:
    registry = MemoryRegistry()
    now = SystemClock().now()
    await registry.claim(Address(Kind.HTTP, "dev.localhost"), STRANGER, WorkerId("w"), now=now, terms=TERMS)
    async with one_client(key, registry) as (gateway, client):
        assert await client.forward(b"", 80)
        [tunnel] = gateway.tunnels
        assert tunnel.address.name != "dev.localhost"


async def shown_refusals(client: RawClient) -> list[str]:
    """What `ssh gw` lists as refused lately."""
    answer = await client.connection.run("--output json", check=False)
    lines = [json.loads(line) for line in str(answer.stdout).splitlines()]
    return [line["asked"] for line in lines if line.get("event") == "refusal"]


async def test_refusals_are_remembered_for_so_many_identities_and_each_for_so_many(
    new_key: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REFUSAL_IDENTITIES", 2)
    monkeypatch.setattr(limits, "REFUSALS_REMEMBERED", 3)
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, AsyncExitStack() as stack:
        keys = [new_key() for _ in range(3)]
        clients = [await stack.enter_async_context(gateway.client(key)) for key in keys]
        for client in clients:
            for port in range(1, 6):  # in no range
                assert not await client.forward(b"", port)
        shown = []
        for key in keys:  # a session of a connection that has asked for nothing shows what its identity was refused
            async with gateway.client(key) as again:
                shown.append(await shown_refusals(again))
        assert shown == [[], ["-R 3", "-R 4", "-R 5"], ["-R 3", "-R 4", "-R 5"]]


async def test_a_name_that_keeps_changing_hands_stays_where_it_is(new_key: Callable[[], Path]) -> None:
    key = new_key()
    async with (
        one_client(key, MemoryRegistry()) as (gateway, first),
        gateway.client(key) as second,
        gateway.client(new_key()) as stranger,
    ):
        assert await first.forward(b"blog", 80)
        services = gateway.front.services
        for _ in range(limits.FLAP_TAKEOVERS):
            services.flaps.counted(BLOG, services.clock.monotonic())
        assert not await second.forward(b"blog", 80)
        assert not await stranger.forward(b"blog", 80)  # who learns nothing of it
        assert refusals(gateway) == ["flapping", "name_reserved"]
        [tunnel] = gateway.tunnels
        assert await first.cancel(b"blog", 80)
        assert await second.forward(b"blog", 80)  # nobody holds it now
        assert tunnel.closed


async def test_whoever_has_no_key_keeps_no_name(key: Path) -> None:
    registry = FullDisk()
    async with one_client(key, registry) as (gateway, _), gateway.client(key, username="nokey") as nobody:
        assert await nobody.forward(b"blog", 80)
        assert await registry.reservations(None) == []
        assert await nobody.cancel(b"blog", 80)
        await closed(gateway)
        registry.full = True
        assert not await nobody.forward(b"blog", 80)
        assert refusals(gateway) == ["store"]


async def test_a_login_name_that_cannot_be_a_web_address_is_no_obstacle(key: Path) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(key, username="_a b!") as client:
        assert await client.forward(b"", 80)
        assert [tunnel.kind for tunnel in gateway.tunnels] == ["http"]
