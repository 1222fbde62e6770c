"""What is decided about a forward before anything is claimed for it."""

from __future__ import annotations

from pathlib import Path

from ferry.kinds.rules import GatewayPorts, PortRange
from ferry.names import Address, Kind
from ferry.policy.sshd import SshdOptions, SshdRules
from memory_registry import MemoryRegistry
from ssh.forward_stage import NoPorts, one_client, refusals


async def test_a_port_at_an_address_that_is_not_for_tunnels_is_refused_before_it_is_claimed(key: Path) -> None:
    registry, ports = MemoryRegistry(), NoPorts(at_once=True)
    async with one_client(key, registry, ports) as (gateway, client):
        port = gateway.ports.public[0]
        gateway.change(
            ranges=(PortRange(port, port, loopback=False),),
            sshd=SshdRules(SshdOptions(gateway_ports=GatewayPorts.CLIENTSPECIFIED)),
        )
        assert not await client.forward(b"192.0.2.7", port)
        assert refusals(gateway) == ["bind_address"]
        assert ports.asked == []
        assert await registry.reservation(Address(Kind.TCP, "", port), now=0.0, keep=100.0) is None
