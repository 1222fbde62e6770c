"""A name is kept by use: one that was up for less than a minute and had no visitor is kept for an hour."""

from __future__ import annotations

from pathlib import Path

import pytest
from asyncssh.packet import String

from ferry.visits import Traffic
from hand_clock import HandClock
from inside_gateway import inside_gateway
from memory_registry import MemoryRegistry
from raw_session import open_session
from ssh.forward_stage import BLOG, closed


@pytest.mark.parametrize(("seconds", "used"), [(0, False), (59, False), (61, True)])
async def test_a_minute_in_service_is_use(key: Path, *, seconds: float, used: bool) -> None:
    """NAMES_USED_AFTER_SECONDS."""
    registry, clock = MemoryRegistry(), HandClock()
    async with inside_gateway(registry=registry, clock=clock) as gateway, gateway.client(key) as client:
        assert await client.forward(b"blog", 80)
        clock.ahead = seconds
        assert await client.cancel(b"blog", 80)
        await closed(gateway)
        assert [(one.address, one.used) for one in await registry.reservations(None)] == [(BLOG, used)]


@pytest.mark.parametrize("visitors", [Traffic(visits=1), Traffic(up=1), Traffic(down=1)], ids=str)
async def test_a_visitor_is_use(key: Path, visitors: Traffic) -> None:
    """Also one who is there still when the tunnel closes: the visit is counted later."""
    registry = MemoryRegistry()
    async with inside_gateway(registry=registry) as gateway, gateway.client(key) as client:
        assert await client.forward(b"blog", 80)
        traffic = gateway.tunnels[0].traffic
        traffic.visits, traffic.up, traffic.down = visitors.visits, visitors.up, visitors.down
        assert await client.cancel(b"blog", 80)
        await closed(gateway)
        assert [one.used for one in await registry.reservations(None)] == [True]


async def test_an_unused_name_is_listed_for_an_hour_and_is_gone_then(key: Path) -> None:
    """NAMES_UNUSED_KEEP_SECONDS."""
    clock = HandClock()
    async with inside_gateway(registry=MemoryRegistry(), clock=clock) as gateway, gateway.client(key) as client:
        assert await client.forward(b"blog", 80)
        assert await client.cancel(b"blog", 80)
        await closed(gateway)

        async def names(number: int) -> bytes:
            session = await open_session(client, number)
            assert session is not None
            assert await session.ask(b"exec", String("names"))
            assert await session.ended() == 0
            return session.said

        clock.ahead = 3590
        assert b"unused: kept until" in await names(5001)
        clock.ahead = 3610
        assert b"no names are reserved for you" in await names(5002)
