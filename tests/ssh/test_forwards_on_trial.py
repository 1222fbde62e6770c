"""Names on trial: the time of the reservation, its owner, and the notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from ferry.names import Address
from ferry.registry.contract import StoreUnavailable, Terms
from hand_clock import HandClock
from inside_gateway import SECONDS, Inside, inside_gateway
from memory_registry import MemoryRegistry
from raw_session import open_session
from ssh.forward_stage import closed

TRIAL = 600.0


class Registry(MemoryRegistry):
    """Takes no reservation while `full`."""

    full = False
    tried = 0

    async def reserve(self, address: Address, generation: int, *, now: float, terms: Terms) -> bool:
        self.tried += 1
        if self.full:
            raise StoreUnavailable("full", readable=True)
        return await super().reserve(address, generation, now=now, terms=terms)

    async def names(self) -> list[str]:
        return [found.address.name.removesuffix(".localhost") for found in await self.reservations(None)]


@asynccontextmanager
async def on_trial(registry: Registry) -> AsyncIterator[tuple[Inside, HandClock]]:
    clock = HandClock()
    async with asyncio.timeout(SECONDS), inside_gateway(registry=registry, clock=clock) as gateway:
        gateway.change(reserve_after=TRIAL)
        yield gateway, clock


async def test_names_are_reserved_together_after_their_trial_and_reported_once(key: Path) -> None:
    registry = Registry()
    async with on_trial(registry) as (gateway, clock), gateway.client(key) as client:
        assert await client.forward(b"one", 80)
        assert await client.forward(b"two", 80)
        session = await open_session(client)
        assert session is not None
        assert await session.ask(b"shell")
        clock.ahead = TRIAL - 5
        await gateway.write_late()
        assert (registry.tried, await registry.names()) == (0, [])
        clock.ahead = TRIAL + 5
        for _ in range(2):
            await gateway.write_late()
            assert (registry.tried, await registry.names()) == (2, ["one", "two"])
        assert await client.lives()
        assert session.said.count(b"is now reserved for you") == 2
        assert await client.cancel(b"one", 80)
        assert await client.forward(b"one", 80)  # it is theirs already
        clock.ahead += TRIAL + 5
        await gateway.write_late()
        assert registry.tried == 2


async def test_a_tunnel_that_closes_while_its_name_is_reserved_is_told_nothing_false(key: Path) -> None:
    """The registry refuses to reserve what was released meanwhile: that says nothing about limits."""

    class Slow(Registry):
        reserving, let_go = asyncio.Event(), asyncio.Event()

        async def reserve(self, address: Address, generation: int, *, now: float, terms: Terms) -> bool:
            self.reserving.set()
            await self.let_go.wait()
            return await super().reserve(address, generation, now=now, terms=terms)

    registry = Slow()
    async with on_trial(registry) as (gateway, clock), gateway.client(key) as client:
        for name in (b"one", b"two"):
            assert await client.forward(name, 80)
        session = await open_session(client)
        assert session is not None
        assert await session.ask(b"shell")
        clock.ahead = TRIAL + 5
        late = asyncio.ensure_future(gateway.write_late())
        await registry.reserving.wait()
        for name in (b"one", b"two"):
            assert await client.cancel(name, 80)
        await closed(gateway)
        registry.let_go.set()
        await late
        assert await client.lives()
        assert b"reserved" not in session.said
        assert (registry.tried, await registry.names()) == (1, [])


async def test_on_a_full_disk_one_reservation_is_tried_at_a_time(key: Path) -> None:
    registry = Registry()
    async with on_trial(registry) as (gateway, clock), gateway.client(key) as client:
        for name in (b"one", b"two", b"three"):
            assert await client.forward(name, 80)
        clock.ahead, registry.full = TRIAL + 5, True
        await gateway.write_late()
        assert registry.tried == 1


async def test_a_client_without_a_key_has_no_trial(key: Path) -> None:
    registry = Registry()
    async with on_trial(registry) as (gateway, clock), gateway.client(key, username="nokey") as nobody:
        assert await nobody.forward(b"one", 80)
        clock.ahead = TRIAL + 5
        await gateway.write_late()
        assert registry.tried == 0


async def test_a_name_past_the_limit_stays_up_and_its_owner_gets_the_reason(
    new_key: Callable[[], Path],
) -> None:
    registry = Registry()
    async with on_trial(registry) as (gateway, clock), gateway.client(new_key()) as client:
        gateway.change(reservations_per_identity=1)
        assert await client.forward(b"one", 80)
        assert await client.forward(b"two", 80)
        session = await open_session(client)
        assert session is not None
        assert await session.ask(b"shell")
        clock.ahead = TRIAL + 5
        await gateway.write_late()
        await gateway.write_late()
        assert (registry.tried, await registry.names(), len(gateway.tunnels)) == (2, ["one"], 2)
        assert await client.lives()
        assert b"two.localhost is not reserved for you" in session.said
