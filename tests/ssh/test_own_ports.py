"""`direct-tcpip` opens from a client back to its own port. They reach no other part of the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from asyncssh.constants import MSG_CHANNEL_CLOSE, MSG_CHANNEL_OPEN, MSG_CHANNEL_OPEN_FAILURE, OPEN_CONNECT_FAILED
from asyncssh.packet import SSHPacket, String, UInt32

from ferry import limits
from ferry.errors import Refusal
from ferry.names import Address, Kind
from ferry.ssh.direct import own_port
from inside_gateway import SECONDS, Inside, inside_gateway
from raw_client import RawClient


@dataclass(eq=False)
class Tunnel:
    address: Address
    streams: int = 0


OURS = Tunnel(Address(Kind.TCP, "", 20000))
HELD = [Tunnel(Address(Kind.ALIAS, "laptop", 20001)), Tunnel(Address(Kind.TCP, "", 20002)), OURS]


def reached(host: bytes, port: int, *held: Tunnel) -> object:
    return own_port(cast(Any, held or HELD), host, port)


@pytest.mark.parametrize("host", [b"127.0.0.1", b"localhost", b"LocalHost", b"::1"])
def test_a_clients_own_port_is_reached(host: bytes) -> None:
    assert reached(host, 20000) is OURS


@pytest.mark.parametrize(
    ("host", "port"),
    [
        (b"192.0.2.1", 20000),
        (b"gw.example.com", 20000),
        (b"", 20000),
        (b"0.0.0.0", 20000),
        (b"localhost", 20001),  # an alias has a port too
        (b"localhost", 20003),
        (b"localhost", 0),
    ],
)
def test_no_other_host_port_or_kind_is_reached(host: bytes, port: int) -> None:
    assert reached(host, port) is None


def test_a_port_that_leads_to_itself_loops_a_few_times_only() -> None:
    """OWN_PORT_STREAMS."""
    busy = Tunnel(OURS.address, limits.OWN_PORT_STREAMS - 1)
    assert reached(b"localhost", 20000, busy) is busy
    busy.streams += 1
    refusal = reached(b"localhost", 20000, busy)
    assert isinstance(refusal, Refusal)
    assert "serves 8 connections already" in refusal.public
    assert refusal.code == "own_port"


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
