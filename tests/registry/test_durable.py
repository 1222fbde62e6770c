"""Engines whose data outlives the process."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from durable_registry import DurableRegistry
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind, WorkerId
from ferry.registry.contract import Claimed, Taken, TakenBy, Terms
from ferry.report import no_report
from ferry.store.engine import Store
from ferry.store.registry import SqlRegistry

BLOG = Address(Kind.HTTP, "blog.example.com")
W1 = WorkerId("w1")
TERMS = Terms(keep=100, rest=50, reserve=True, derived=False, max_reservations=10_000)
ANN = Identity(IdentityId("ann"), "ann", Fingerprint("SHA256:ann"))
BOB = Identity(IdentityId("bob"), None, Fingerprint("SHA256:bob"))


async def test_reservations_and_generations_survive_a_restart(tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "ferry.db", report=no_report) as store:
        before = await SqlRegistry(store).claim(BLOG, ANN, W1, now=10, terms=replace(TERMS, network="192.0.2.0/24"))
        assert isinstance(before, Claimed)
    async with await Store.open(tmp_path / "ferry.db", report=no_report) as store:
        registry = DurableRegistry(store)
        assert await registry.lookup(BLOG) == before.lease
        assert await registry.retire(None, now=20) == 1
        refused = await registry.claim(BLOG, BOB, W1, now=30, terms=TERMS)
        assert refused == Taken(TakenBy.RESERVED, ANN.id, "ann (SHA256:ann)", None)
        after = await registry.claim(BLOG, ANN, W1, now=30, terms=TERMS)
        assert isinstance(after, Claimed)
        assert after.lease.generation > before.lease.generation
        assert await registry.reservations_from_network("192.0.2.0/24", since=0) == 1


async def test_workers_that_are_gone_leave_no_rows(tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "ferry.db", report=no_report) as store:
        registry = SqlRegistry(store)

        async def known() -> set[str]:
            return await store.run(
                lambda connection: {name for (name,) in connection.execute("SELECT id FROM workers")}
            )

        for name in ("w1", "w2", "w3"):
            await registry.renew(WorkerId(name), now=10)
        await registry.retire(W1, now=20)
        assert await known() == {"w2", "w3"}
        await registry.retire(None, now=30)
        assert await known() == set()


async def test_two_processes_may_read_and_write_one_database(tmp_path: Path) -> None:
    """Two stores stand for a gateway and a command beside it: reading first must not cost the right to write."""
    async with (
        await Store.open(tmp_path / "ferry.db", report=no_report) as one,
        await Store.open(tmp_path / "ferry.db", report=no_report) as other,
    ):

        async def lane(registry: SqlRegistry, number: int) -> list[int]:
            generations = []
            for count in range(30):
                address = Address(Kind.TCP, "", 10_000 + 100 * number + count)
                answer = await registry.claim(address, ANN, W1, now=10, terms=TERMS)
                assert isinstance(answer, Claimed)
                generations.append(answer.lease.generation)
            return generations

        lanes = [lane(SqlRegistry(store), number) for number, store in enumerate((one, other, one, other))]
        seen = [generation for generations in await asyncio.gather(*lanes) for generation in generations]
        assert len(set(seen)) == 120
        assert one.healthy
        assert other.healthy


_CHILD = """
import asyncio, sys
from pathlib import Path
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind, WorkerId
from ferry.registry.contract import Claimed, Terms
from ferry.report import no_report
from ferry.store.engine import Store
from ferry.store.registry import SqlRegistry

TERMS = Terms(keep=100, rest=50, reserve=True, derived=False, max_reservations=10**9)
ANN = Identity(IdentityId("ann"), "ann", Fingerprint("SHA256:ann"))

async def lane(registry, number):
    count = 0
    while True:
        address = Address(Kind.HTTP, f"n{number}-{count}.example.com")
        answer = await registry.claim(address, ANN, WorkerId("w1"), now=10, terms=TERMS)
        assert isinstance(answer, Claimed)
        print(address.key, answer.lease.generation, flush=True)
        count += 1

async def main():
    registry = SqlRegistry(await Store.open(Path(sys.argv[1]), report=no_report))
    await asyncio.gather(*(lane(registry, number) for number in range(20)))

asyncio.run(main())
"""


async def test_kill_dash_nine_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    database = tmp_path / "ferry.db"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CHILD, str(database), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    acknowledged = [await child.stdout.readline() for _ in range(300)]
    child.kill()
    acknowledged += (await child.stdout.read()).splitlines(keepends=True)
    await child.wait()
    told = dict(line.decode().split() for line in acknowledged if line.endswith(b"\n"))
    assert len(told) >= 300
    async with await Store.open(database, report=no_report) as store:
        registry = SqlRegistry(store)
        for key, generation in told.items():
            lease = await registry.lookup(Address.from_key(key))
            assert lease is not None, key
            assert lease.generation == int(generation)
        kept = {reservation.address.key for reservation in await registry.reservations(ANN.id)}
        assert kept >= told.keys()
        after = await registry.claim(BLOG, ANN, W1, now=20, terms=TERMS)
        assert isinstance(after, Claimed)
        assert after.lease.generation > max(map(int, told.values()))
