"""Forwards that fail, or become unwanted, on their way: each claim is given back once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import pytest
from asyncssh.constants import MSG_GLOBAL_REQUEST
from asyncssh.packet import Boolean, String, UInt32

from ferry import limits
from ferry.clock import SystemClock
from ferry.kinds.rules import GatewayPorts, PortRange
from ferry.names import Address, Identity, Kind, WorkerId
from ferry.policy.sshd import SshdOptions, SshdRules
from ferry.registry.contract import Claimed, Taken, Terms
from ferry.report import no_report
from ferry.ssh.wire.connection import HardenedConnection
from ferry.store.engine import Store
from ferry.store.registry import SqlRegistry
from inside_gateway import SECONDS, inside_gateway
from memory_registry import MemoryRegistry
from raw_client import RawClient
from raw_session import open_session
from ssh.forward_stage import (
    BLOG,
    STRANGER,
    TERMS,
    NoPorts,
    closed,
    one_client,
    refusals,
)
from turns import until

FLAP_TAKEOVERS = 3


class SlowRegistry(MemoryRegistry):
    """Gives nothing back before it is told to, as behind a slow disk. `giving_back` is set when it is asked to,
    `given_back` when a claim was undone."""

    def __init__(self) -> None:
        super().__init__()
        self.giving_back, self.let_go, self.given_back = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def _wait(self) -> None:
        self.giving_back.set()
        await self.let_go.wait()

    async def release(self, address: Address, generation: int, *, now: float, used: bool = True) -> bool:
        await self._wait()
        return await super().release(address, generation, now=now, used=used)

    async def undo(self, address: Address, generation: int) -> bool:
        await self._wait()
        undone = await super().undo(address, generation)
        self.given_back.set()
        return undone


class LateAnswers(MemoryRegistry):
    """Answers a claim when it is told to. `claimed` is set when one is made."""

    def __init__(self) -> None:
        super().__init__()
        self.claimed, self.let_go = asyncio.Event(), asyncio.Event()

    async def claim(
        self, address: Address, identity: Identity, worker: WorkerId, *, now: float, terms: Terms
    ) -> Claimed | Taken:
        answer = await super().claim(address, identity, worker, now=now, terms=terms)
        self.claimed.set()
        await self.let_go.wait()
        return answer


async def test_a_client_that_leaves_while_it_claims_takes_nothing_from_its_identitys_other(key: Path) -> None:
    registry = LateAnswers()
    async with one_client(key, registry) as (gateway, first):
        registry.let_go.set()
        assert await first.forward(b"blog", 80)
        [tunnel] = gateway.tunnels
        registry.let_go.clear()
        registry.claimed.clear()
        async with gateway.client(key) as second:
            second.send(MSG_GLOBAL_REQUEST, String(b"tcpip-forward"), Boolean(True), String(b"blog"), UInt32(80))
            await registry.claimed.wait()
        await until(lambda: len(gateway.clients) == 1)
        registry.let_go.set()
        await until(lambda: gateway.said("tunnel.refused"))
        assert refusals(gateway) == ["gone"]
        assert (gateway.tunnels, gateway.said("tunnel.takeover")) == ([tunnel], [])


async def test_undoing_one_forward_leaves_a_newer_one_its_reservation(key: Path) -> None:
    """Two connections of one key ask for one name, the first with an unknown word: its reservation is
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


async def test_a_port_that_cannot_listen_is_given_back_with_its_reservation(key: Path) -> None:
    registry = MemoryRegistry()
    async with one_client(key, registry, NoPorts(at_once=True)) as (gateway, client):
        port = gateway.ports.loopback[0]
        assert not await client.forward(b"", port)
        assert refusals(gateway) == ["port_in_use"]
        assert await registry.reservations(None) == []
        assert await registry.lookup(Address(Kind.TCP, "", port)) is None
        assert gateway.tunnels == []
        assert len(gateway.routes.by_address) == 0


async def test_a_derived_port_in_use_is_followed_by_the_next(key: Path) -> None:
    registry, ports = MemoryRegistry(), NoPorts(at_once=True)
    async with one_client(key, registry, ports) as (gateway, client):
        assert await client.forward(b"", 0)
        assert len(set(ports.asked)) == 4
        assert [found.address.port for found in await registry.reservations(None)] == ports.asked[3:]
        # what it had is asked for first, and is still its own: another is given for the second forward
        assert await client.forward(b"", 0)
        assert len({tunnel.address for tunnel in gateway.tunnels}) == 2


async def test_a_derived_port_that_may_not_be_opened_is_not_tried_elsewhere(key: Path) -> None:
    ports = NoPorts("port_forbidden", at_once=True)
    async with one_client(key, MemoryRegistry(), ports) as (gateway, client):
        assert not await client.forward(b"", 0)
        assert len(ports.asked) == 1
        assert refusals(gateway) == ["port_forbidden"]


async def test_a_client_that_leaves_while_its_port_opens_leaves_nothing(key: Path) -> None:
    registry = MemoryRegistry()
    async with asyncio.timeout(SECONDS), inside_gateway(registry=registry) as gateway:
        port = gateway.ports.loopback[0]
        ports = NoPorts(but=port)
        gateway.change(ports=ports)
        async with gateway.client(key) as client:
            client.send(MSG_GLOBAL_REQUEST, String(b"tcpip-forward"), Boolean(True), String(b""), UInt32(port))
            await ports.listening.wait()
        await until(lambda: not gateway.clients)
        ports.let_go.set()
        await until(lambda: gateway.said("tunnel.refused"))
        assert refusals(gateway) == ["gone"]
        assert [opened.closed for opened in ports.opened] == [True]
        assert await registry.reservations(None) == []
        assert await registry.lookup(Address(Kind.TCP, "", port)) is None
        assert len(gateway.routes.by_address) == 0


@pytest.mark.parametrize(
    ("host", "setting", "code"),
    [
        (b"", GatewayPorts.NO, "gateway_ports"), (b"localhost", GatewayPorts.CLIENTSPECIFIED, "gateway_ports"),
        (b"192.0.2.7", GatewayPorts.CLIENTSPECIFIED, "bind_address"), (b"", GatewayPorts.CLIENTSPECIFIED, None),
        (b"192.0.2.7", GatewayPorts.YES, None),
    ],
)  # fmt: skip
async def test_a_port_that_the_settings_move_while_it_opens_is_given_back(
    key: Path, host: bytes, setting: GatewayPorts, code: str | None
) -> None:
    """As one that is open then. The settings that decided are not those in force. One that stays where it is stays open."""
    registry, ports = MemoryRegistry(), NoPorts()
    async with one_client(key, registry, ports) as (gateway, client):
        ports.but = port = gateway.ports.public[0]
        gateway.change(ranges=(PortRange(port, port, loopback=False),))
        asking = asyncio.ensure_future(client.forward(host, port))
        await ports.listening.wait()
        gateway.change(sshd=SshdRules(SshdOptions(gateway_ports=setting)))
        ports.let_go.set()
        assert await asking is (code is None)
        assert refusals(gateway) == ([] if code is None else [code])
        assert [opened.closed for opened in ports.opened] == [None if code is None else True]
        assert len(gateway.tunnels) == len(await registry.reservations(None)) == int(code is None)


async def test_one_connection_has_a_name_or_a_port_once(key: Path) -> None:
    async with one_client(key, MemoryRegistry()) as (gateway, client):
        port = gateway.ports.loopback[0]
        assert await client.forward(b"blog", 80)
        assert not await client.forward(b"blog", 80)
        assert await client.forward(b"", port)
        assert not await client.forward(b"localhost", port)
        assert refusals(gateway) == ["duplicate", "duplicate"]
        assert len(gateway.tunnels) == 2


async def test_a_derived_name_is_not_taken_from_a_live_connection(key: Path) -> None:
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
async def test_derived_names_count_too(key: Path, most: int, code: str | None) -> None:
    claims: list[Address] = []

    class Counted(MemoryRegistry):
        async def claim(
            self, address: Address, identity: Identity, worker: WorkerId, *, now: float, terms: Terms
        ) -> Claimed | Taken:
            claims.append(address)
            return await super().claim(address, identity, worker, now=now, terms=terms)

    async with asyncio.timeout(SECONDS), inside_gateway(registry=Counted()) as gateway:
        gateway.change(reservations_per_identity=most)
        async with gateway.client(key) as client:
            assert await client.forward(b"", 80)
            assert await client.forward(b"localhost", 80) is (code is None)
            assert refusals(gateway) == ([] if code is None else [code])
            assert len(claims) == 2  # another name would not help


async def test_who_has_all_names_is_told_how_to_give_some_back(key: Path) -> None:
    async with one_client(key, MemoryRegistry()) as (gateway, client):
        gateway.change(reservations_per_identity=1)
        assert await client.forward(b"one", 80)
        assert not await client.forward(b"two", 80)
        session = await open_session(client)
        assert session is not None
        assert await session.ask(b"shell")
        told = (
            b"`ssh -p 2222 localhost release NAME`, or those without use with `ssh -p 2222 localhost release --unused`"
        )
        await until(lambda: told in session.complained)


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


async def test_a_login_name_of_another_identity_claims_nothing(key: Path) -> None:
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


async def test_remembered_refusals_are_bounded_per_identity_and_in_all(
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
        assert await first.forward(b"one", 80)  # a connection that loses its only tunnel ends
        assert await second.forward(b"two", 80)
        assert await first.forward(b"blog", 80)
        holder, other = first, second
        for _ in range(FLAP_TAKEOVERS):
            assert await other.forward(b"blog", 80)
            holder, other = other, holder
            await until(lambda: not any(task.get_name().startswith("settle") for task in asyncio.all_tasks()))
        assert not await other.forward(b"blog", 80)
        assert not await stranger.forward(b"blog", 80)  # who learns nothing of it
        assert refusals(gateway) == ["flapping", "name_reserved"]
        [tunnel] = [tunnel for tunnel in gateway.tunnels if tunnel.address == BLOG]
        assert await holder.cancel(b"blog", 80)
        assert await other.forward(b"blog", 80)  # nobody holds it now
        assert tunnel.closed


async def test_a_login_name_that_cannot_be_a_web_address_is_no_obstacle(key: Path, tmp_path: Path) -> None:
    async with (
        asyncio.timeout(SECONDS),
        await Store.open(tmp_path / "ferry.db", report=no_report) as store,
        inside_gateway(registry=SqlRegistry(store)) as gateway,
        gateway.client(key, username="_a b!") as client,
    ):
        assert await client.forward(b"", 80)
        assert [tunnel.kind for tunnel in gateway.tunnels] == ["http"]


class Asked(HardenedConnection):
    """Notes that it was asked for a sign of life, and shows none."""

    asked = 0

    async def alive_within(self, seconds: float) -> bool:
        del seconds
        self.asked += 1
        return False


async def test_for_a_derived_address_only_own_connections_are_pinged(
    new_key: Callable[[], Path],
) -> None:
    """Else whoever is frozen would hold up a stranger, for seconds each."""
    key = new_key()
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(kind=Asked) as gateway,
        gateway.client(new_key()) as stranger,
        gateway.client(key) as first,
        gateway.client(key) as second,
    ):
        gateway.change(reservations_per_identity=999, forwards_per_connection=999, forwards_per_identity=999)
        for port in gateway.ports.loopback[3:]:
            assert await stranger.forward(b"", port)
        assert await first.forward(b"", 0)
        assert await first.forward(b"", 0)
        connections = [cast(Asked, client.connection) for client in gateway.clients]
        assert [one.asked for one in connections] == [0, 0, 0]
        assert await second.forward(b"", 0)  # one of those that do not answer
        assert [one.asked > 0 for one in connections] == [False, True, False]


@pytest.mark.parametrize("left", ["nothing", "another forward", "one that is being decided"])
async def test_a_client_that_loses_its_last_name_is_disconnected_unless_a_forward_is_undecided(
    key: Path, left: str
) -> None:
    async with one_client(key, MemoryRegistry()) as (gateway, loser), gateway.client(key) as winner:
        port = gateway.ports.loopback[0]
        ports = NoPorts(but=port, at_once=True)
        gateway.change(ports=ports)
        assert await loser.forward(b"", port)
        if left == "another forward":
            assert await loser.forward(b"blog", 80)
        for event in (ports.listening, ports.let_go):
            event.clear()
        asking = asyncio.ensure_future(winner.forward(b"", port))
        await ports.listening.wait()
        if left == "one that is being decided":  # as soon as the winner has what it asked for
            loser.send(MSG_GLOBAL_REQUEST, String(b"tcpip-forward"), Boolean(True), String(b"blog"), UInt32(80))
        await until(lambda: not any(task.get_name().startswith("settle") for task in asyncio.all_tasks()))
        ports.let_go.set()
        assert await asking
        if left == "nothing":
            await loser.connection.wait_closed()
            await until(lambda: gateway.said("connection.closed"))
            assert "was taken over" in str(gateway.said("connection.closed")[0]["reason"])
        else:
            await until(lambda: len(gateway.tunnels) >= 2)
            assert len(gateway.clients) == 2


async def test_a_cancel_for_an_unknown_forward_logs_no_error(key: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with one_client(key, MemoryRegistry()) as (_, client):
        assert not await client.cancel(b"blog", 80)
        assert [record for record in caplog.records if record.name.startswith("ferry")] == []
