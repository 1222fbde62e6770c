"""What the target of a `direct-tcpip` open means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ferry.kinds.rules import PortRange
from memory_registry import MemoryRegistry
from ssh.forward_stage import NoPorts, one_client


async def test_a_machine_that_holds_port_22_is_reached_there_whatever_else_it_holds(key: Path) -> None:
    """Only one without it has its other ports looked at."""
    ports = NoPorts(but=22, at_once=True)
    async with one_client(key, MemoryRegistry(), ports) as (gateway, client):
        gateway.change(ranges=(PortRange(22, 23, loopback=True),))
        (machine,) = gateway.clients
        machine.identity = replace(machine.identity, name="web-1")
        for port in (22, 23):
            ports.but = port
            assert await client.forward(b"localhost", port)
        await gateway.let_through()
        client.accept_opens()
        await client.connection.open_connection("web-1", 22)


async def test_an_alias_of_another_identity_does_not_take_the_place_of_a_machine(
    key: Path, new_key: Callable[[], Path]
) -> None:
    async with (
        one_client(key, MemoryRegistry()) as (gateway, machine),
        gateway.client(key) as own,
        gateway.client(new_key()) as stranger,
    ):
        for client in gateway.clients[:2]:
            client.identity = replace(client.identity, name="web-1")
        assert await stranger.forward(b"web-1", 22)
        assert await machine.forward(b"localhost", gateway.ports.loopback[0])
        await gateway.let_through()
        machine.accept_opens()
        await own.connection.open_connection("web-1", 22)
