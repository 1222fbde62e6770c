"""`direct-tcpip` opens to a port of the gateway that a tunnel holds: `ssh -J gw -p 21022 root@localhost`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_GLOBAL_REQUEST,
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_CONNECT_FAILED,
    OPEN_RESOURCE_SHORTAGE,
)
from asyncssh.packet import Boolean, SSHPacket, String, UInt32

from ferry.names import Address, Kind
from ferry.policy.keys import KeyLine
from ferry.protocol.key_options import parse_options
from ferry.ssh.direct import meant_port
from hand_clock import HandClock
from inside_gateway import SECONDS, Inside, inside_gateway
from known_system import KNOWN
from raw_client import RawClient
from raw_session import open_session
from ssh.alias_pair import Side
from turns import timers, until

DIRECT_OPENS_PER_SECOND = 1000
OWN_PORT_STREAMS = 8


@pytest.mark.parametrize("host", [b"127.0.0.1", b"localhost", b"LocalHost", b"::1"])
def test_a_loopback_address_means_the_gateways_ports(host: bytes) -> None:
    assert meant_port(host, 20000) == Address(Kind.TCP, "", 20000)


@pytest.mark.parametrize(
    "host", [b"192.0.2.1", b"gw.example.com", b"", b"0.0.0.0", b"127.0.0.2", b"127.1", b"[::1]", b"localhost."]
)
def test_no_other_host_does(host: bytes) -> None:
    assert meant_port(host, 20000) is None


class StillClock(HandClock):
    """It stands until the test sets it forward."""

    def monotonic(self) -> float:
        return 1000.0 + self.ahead


async def opened(client: RawClient, port: int) -> Any:
    _, writer = await client.connection.open_connection("localhost", port, encoding=None)
    return writer


@asynccontextmanager
async def port_of_one_of_two(key: Path) -> AsyncIterator[tuple[Inside, RawClient, RawClient, int]]:
    """Two connections of one identity. The first one holds a port."""
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway() as inside,
        inside.client(key) as client,
        inside.client(key) as own,
    ):
        port = inside.ports.loopback[0]
        assert await client.forward(b"localhost", port)
        await inside.let_through()
        yield inside, client, own, port


async def test_a_port_is_reached_by_its_identity_alone_and_on_each_of_its_connections(
    key: Path, new_key: Callable[[], Path]
) -> None:
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway() as inside,
        inside.client(key) as machine,
        inside.client(key) as own,
        inside.client(new_key()) as other,
    ):
        port, unused = inside.ports.loopback[:2]
        assert await machine.forward(b"localhost", port)
        assert await machine.forward(b"laptop", unused)  # an alias has a port too
        await inside.let_through()
        machine.accept_opens()
        for client in (machine, own):
            (await opened(client, port)).close()
        said = []
        for client, asked in ((other, port), (own, unused), (other, unused), (own, 0)):
            with pytest.raises(asyncssh.ChannelOpenError) as refused:
                await opened(client, asked)
            assert refused.value.code == OPEN_ADMINISTRATIVELY_PROHIBITED
            said.append(refused.value.reason.replace(str(asked), "N", 1))
        assert len(set(said)) == 1
        assert said[0].startswith("no port N here for you: `ssh -p 2222 localhost ls` lists yours")


async def test_a_machine_with_several_ports_is_asked_for_one(key: Path) -> None:
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway() as inside,
        inside.client(key) as machine,
        inside.client(key) as own,
    ):
        identities = {client.identity for client in inside.clients}
        first, second = inside.ports.loopback[:2]
        for client in inside.clients:
            client.identity = replace(client.identity, name="Web-1")
        assert len(identities) == 1
        for port in (first, second):
            assert await machine.forward(b"localhost", port)
        await until(lambda: len(inside.tunnels) == 2)
        await inside.let_through()
        machine.accept_opens()
        await own.connection.open_connection("web-1", second)
        with pytest.raises(asyncssh.ChannelOpenError) as refused:
            await own.connection.open_connection("web-1", 22)
        assert refused.value.reason == f"web-1 holds the ports {first} and {second}: write -p {first} you@localhost"
        assert await machine.cancel(b"localhost", first)
        await own.connection.open_connection("web-1", 22)
        with pytest.raises(asyncssh.ChannelOpenError):
            await own.connection.open_connection("web-1", first)  # another port is not its ssh


@pytest.mark.parametrize("machines", [False, True])
async def test_an_alias_that_is_called_like_a_machine(
    key: Path, new_key: Callable[[], Path], *, machines: bool
) -> None:
    """It comes first for its own identity, and for everybody if it is the machine's."""
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway() as inside,
        inside.client(key) as machine,
        inside.client(new_key()) as other,
    ):
        here, there = inside.clients
        here.identity = replace(here.identity, name="Web-1")
        owner = machine if machines else other
        assert await machine.forward(b"localhost", inside.ports.loopback[0])
        assert await owner.forward(b"web-1", 22)
        await inside.let_through()
        (alias,) = [tunnel for tunnel in inside.tunnels if tunnel.address.name]
        there.use_key_line(KeyLine(options=parse_options('permitopen="web-1:22"', KNOWN)))
        machine.accept_opens()
        other.accept_opens()
        await other.connection.open_connection("web-1", 22)
        assert alias.streams == 1


async def test_a_port_whose_service_closes_without_a_word_gives_no_hint_about_an_alias(key: Path) -> None:
    async with port_of_one_of_two(key) as (inside, client, own, port):
        client.hold_opens()
        session = await open_session(client)
        assert session is not None
        assert await session.ask(b"shell")
        visit = asyncio.ensure_future(own.connection.open_connection("localhost", port, encoding=None))
        number, _ = await client.opens.get()
        service = client.connection._channels[10_000] = Side(client, 10_000, theirs=number)
        service.say(MSG_CHANNEL_OPEN_CONFIRMATION, UInt32(service.ours), UInt32(2**20), UInt32(2**15))
        service.say(MSG_CHANNEL_CLOSE)
        reader, _ = await visit
        assert await reader.read() == b""
        await until(lambda: inside.tunnels[0].traffic.visits == 1)
        assert await client.lives()
        assert b"closed a visit" not in session.said


async def test_a_port_that_leads_to_itself_loops_a_few_times_only(key: Path) -> None:
    """OWN_PORT_STREAMS; another connection of the identity may have more."""
    async with port_of_one_of_two(key) as (inside, client, own, port):
        client.accept_opens()
        for _ in range(OWN_PORT_STREAMS):
            await opened(client, port)
        with pytest.raises(asyncssh.ChannelOpenError) as refused:
            await opened(client, port)
        assert refused.value.code == OPEN_RESOURCE_SHORTAGE
        assert "serves 8 connections already" in refused.value.reason
        assert inside.said("reach.refused")[-1]["code"] == "own_port"
        await opened(own, port)
        assert await client.forward(b"laptop", 22)
        await inside.let_through()
        for _ in range(OWN_PORT_STREAMS + 1):  # an alias has no such limit
            await client.connection.open_connection("laptop", 22)


async def test_a_connection_opens_so_many_a_second(key: Path) -> None:
    """DIRECT_OPENS_PER_SECOND, granted or not."""
    clock = StillClock()
    async with asyncio.timeout(SECONDS), inside_gateway(clock=clock) as inside, inside.client(key) as client:
        (own,) = inside.clients
        for _ in range(DIRECT_OPENS_PER_SECOND):
            assert own.direct.may_open(clock.monotonic())
        with pytest.raises(asyncssh.ChannelOpenError) as refused:
            await opened(client, 1)
        assert (refused.value.code, "1000 connections in a second" in refused.value.reason) == (
            OPEN_RESOURCE_SHORTAGE,
            True,
        )
        clock.ahead += 1
        with pytest.raises(asyncssh.ChannelOpenError, match="no port 1 here"):
            await opened(client, 1)


@asynccontextmanager
async def own_port_opening(key: Path) -> AsyncIterator[tuple[Inside, RawClient, int, asyncio.Queue[SSHPacket]]]:
    """A client that opens its own port: the number of the stream to its local service, and the failures of its open."""
    async with asyncio.timeout(SECONDS), inside_gateway() as inside, inside.client(key) as client:
        port = inside.ports.loopback[0]
        assert await client.forward(b"localhost", port)
        client.hold_opens()
        failures: asyncio.Queue[SSHPacket] = asyncio.Queue()
        client.on(MSG_CHANNEL_OPEN_FAILURE, failures.put_nowait)
        target = String(b"127.0.0.1"), UInt32(port), String(b"127.0.0.1"), UInt32(4711)
        client.send(MSG_CHANNEL_OPEN, String(b"direct-tcpip"), UInt32(7000), UInt32(1000), UInt32(1000), *target)
        number, _ = await client.opens.get()
        yield inside, client, number, failures


async def test_an_open_behind_the_request_for_its_port_waits_until_that_is_decided(key: Path) -> None:
    """`ssh -L 5000:localhost:21022 -R 21022:...`: somebody may connect to the first at once."""
    async with asyncio.timeout(SECONDS), inside_gateway() as inside, inside.client(key) as client:
        port = inside.ports.loopback[0]
        client.hold_opens()
        failures: asyncio.Queue[SSHPacket] = asyncio.Queue()
        client.on(MSG_CHANNEL_OPEN_FAILURE, failures.put_nowait)
        wanted = String(b"direct-tcpip") + UInt32(7000) + UInt32(1000) + UInt32(1000)
        target = String(b"127.0.0.1") + UInt32(port) + String(b"127.0.0.1") + UInt32(4711)
        async with inside.deciding(inside.clients[0].identity.id):
            client.at_once(
                (MSG_GLOBAL_REQUEST, String(b"tcpip-forward") + Boolean(True) + String(b"localhost") + UInt32(port)),
                (MSG_CHANNEL_OPEN, wanted + target),
            )
            await timers(0.05)
            assert (failures.empty(), client.opens.empty()) == (True, True)
        await client.opens.get()
        assert failures.empty()


async def test_an_open_that_is_too_long_to_be_kept_does_not_wait(key: Path) -> None:
    """DIRECT_OPEN_BYTES."""
    async with asyncio.timeout(SECONDS), inside_gateway() as inside, inside.client(key) as client:
        failures: asyncio.Queue[SSHPacket] = asyncio.Queue()
        client.on(MSG_CHANNEL_OPEN_FAILURE, failures.put_nowait)
        wanted = String(b"direct-tcpip") + UInt32(7000) + UInt32(1000) + UInt32(1000)
        async with inside.deciding(inside.clients[0].identity.id):
            client.at_once(
                (MSG_GLOBAL_REQUEST, String(b"tcpip-forward") + Boolean(True) + String(b"blog") + UInt32(80)),
                (MSG_CHANNEL_OPEN, wanted + String(b"a" * 2048) + UInt32(22) + String(b"127.0.0.1") + UInt32(4711)),
            )
            assert (await failures.get()).get_uint32() == 7000


@pytest.mark.usefixtures("nothing_fails")
async def test_a_truncated_open_behind_a_request_ends_the_connection(key: Path) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as inside, inside.client(key) as client:
        async with inside.deciding(inside.clients[0].identity.id):
            client.at_once(
                (MSG_GLOBAL_REQUEST, String(b"tcpip-forward") + Boolean(True) + String(b"blog") + UInt32(80)),
                (MSG_CHANNEL_OPEN, String(b"direct-tcpip") + UInt32(1) + UInt32(1000) + UInt32(1000) + b"\0\0"),
            )
            await timers(0.05)
            assert inside.clients
        await until(lambda: not inside.clients)


async def test_a_failure_behind_the_own_port_names_the_port_and_no_alias(key: Path) -> None:
    async with own_port_opening(key) as (inside, client, number, failures):
        code = UInt32(OPEN_CONNECT_FAILED)
        client.send(MSG_CHANNEL_OPEN_FAILURE, UInt32(number), code, String(b"refused"), String(b""))
        answer = await failures.get()
        assert (answer.get_uint32(), answer.get_uint32()) == (7000, OPEN_CONNECT_FAILED)
        assert answer.get_string() == f"port {inside.ports.loopback[0]}'s local service cannot be reached".encode()


async def test_the_note_of_a_visit_to_the_own_port_that_ends_early_names_the_port(key: Path) -> None:
    async with own_port_opening(key) as (inside, client, number, failures):
        for other in (number - 1, number + 1):  # the client does not know the number of its open, but can guess it
            client.send(MSG_CHANNEL_CLOSE, UInt32(other % 2**32))
        await failures.get()
        (visit,) = [fields["visit"] for fields in inside.said("visit")]
        assert visit.note == f"the visitor left before port {inside.ports.loopback[0]} answered"
