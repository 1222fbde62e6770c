"""Forwards that fail on their way, or are not wanted once they are there: whatever was claimed is given back, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind, WorkerId
from ferry.registry.contract import Taken, Terms
from ferry.registry.memory import MemoryRegistry
from inside_gateway import SECONDS, inside_gateway

BLOG = Address(Kind.HTTP, "blog.localhost")
KEEP = 86400.0
STRANGER = Identity(IdentityId("stranger"), None, Fingerprint("SHA256:stranger"))
TERMS = Terms(keep=KEEP, rest=KEEP, reserve=True, derived=False, max_reservations=9)


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
