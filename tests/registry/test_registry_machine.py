"""Random calls on both engines at once: they must agree with each other and with a small model."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from durable_registry import DurableRegistry
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind, WorkerId
from ferry.registry.contract import Claimed, Taken, TakenBy, Terms
from ferry.report import no_report
from ferry.store.engine import Store
from memory_registry import MemoryRegistry

T = TypeVar("T")

UNUSED_KEEP = 3600.0
KEEP, REST = UNUSED_KEEP + 20.0, 10.0
ADDRESSES = [
    Address(Kind.HTTP, "a.example.com"),
    Address(Kind.HTTP, "b.example.com"),
    Address(Kind.TCP, "", 30001),
    Address(Kind.ALIAS, "laptop", 22),
]
PEOPLE = [Identity(IdentityId(n), n if n == "ann" else None, Fingerprint(f"SHA256:{n}")) for n in ("ann", "bob", "cy")]
WORKERS = [WorkerId("w1"), WorkerId("w2")]

addresses = st.sampled_from(ADDRESSES)
people = st.sampled_from(PEOPLE)
workers = st.sampled_from(WORKERS)
terms = st.builds(
    Terms,
    keep=st.just(KEEP),
    rest=st.just(REST),
    reserve=st.booleans(),
    derived=st.booleans(),
    max_reservations=st.integers(0, 3),
    network=st.sampled_from(["", "192.0.2.0/24"]),
    max_per_network_day=st.none() | st.integers(0, 4),
)


class Engines(RuleBasedStateMachine):
    """Both engines under the same calls, and a model of who holds what: address → (owner, generation)."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.now = 0.0
        self.generation = 0
        self.live: dict[Address, tuple[IdentityId, int, WorkerId]] = {}
        self.reserved: dict[Address, tuple[IdentityId, float, bool]] = {}
        """Address → (owner, last use, whether it was used)."""

    @initialize()
    def begin(self) -> None:
        self.memory = MemoryRegistry()
        self._open()

    def _open(self) -> None:
        self.store = self._await(Store.open(Path(self.folder.name) / "ferry.db", report=no_report))
        self.sql = DurableRegistry(self.store)

    def _await(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def _same(self, ours: Coroutine[Any, Any, T], theirs: Coroutine[Any, Any, T]) -> T:
        one, other = self._await(ours), self._await(theirs)
        assert one == other
        return one

    def _safe_from(self, address: Address, who: IdentityId) -> bool:
        """Whether the model refuses this address to all other identities, under any terms."""
        if address in self.live and self.live[address][0] != who:
            return True
        if address not in self.reserved or self.reserved[address][0] == who:
            return False
        until = self._until(address)
        return address in self.live or self.now < until + REST or self.now <= until

    def _until(self, address: Address) -> float:
        _, last_used, used = self.reserved[address]
        return last_used + (KEEP if used else UNUSED_KEEP)

    @rule(seconds=st.integers(1, 15))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def an_hour_passes(self) -> None:
        self.now += UNUSED_KEEP

    @rule()
    def a_day_passes(self) -> None:
        self.now += 86400

    @rule(address=addresses, who=people, worker=workers, terms=terms)
    def claim(self, address: Address, who: Identity, worker: WorkerId, terms: Terms) -> None:
        would = self._same(
            self.memory.would_refuse(address, who, now=self.now, terms=terms),
            self.sql.would_refuse(address, who, now=self.now, terms=terms),
        )
        answer = self._same(
            self.memory.claim(address, who, worker, now=self.now, terms=terms),
            self.sql.claim(address, who, worker, now=self.now, terms=terms),
        )
        assert would == (answer if isinstance(answer, Taken) else None)
        safe = self._safe_from(address, who.id)
        if isinstance(answer, Taken):
            assert safe or answer.reason in (TakenBy.OVER_LIMIT, TakenBy.NETWORK_LIMIT)
            return
        assert isinstance(answer, Claimed)
        assert not safe
        assert answer.lease.generation > self.generation
        self.generation = answer.lease.generation
        before = self.live.get(address)
        assert (answer.displaced.generation if answer.displaced else None) == (before[1] if before else None)
        self.live[address] = (who.id, self.generation, worker)
        owner, _, used = self.reserved.pop(address, (None, 0.0, False))
        if answer.reserved:
            mine = owner == who.id
            assert answer.new is not mine
            self.reserved[address] = (who.id, self.now, mine and (used or before is not None))

    @rule(address=addresses, age=st.integers(0, 1), terms=terms)
    def reserve(self, address: Address, age: int, terms: Terms) -> None:
        generation = self._generation_of(address) - age
        done = self._same(
            self.memory.reserve(address, generation, now=self.now, terms=terms),
            self.sql.reserve(address, generation, now=self.now, terms=terms),
        )
        assert not (done and age)
        if done and address not in self.reserved:
            self.reserved[address] = (self.live[address][0], self.now, True)

    @rule(address=addresses, age=st.integers(0, 1), used=st.booleans())
    def release(self, address: Address, age: int, used: bool) -> None:
        generation = self._generation_of(address) - age
        done = self._same(
            self.memory.release(address, generation, now=self.now, used=used),
            self.sql.release(address, generation, now=self.now, used=used),
        )
        assert done == (address in self.live and not age)
        if done:
            self._touched(address, used=used)
            del self.live[address]

    @rule(address=addresses, age=st.integers(0, 1))
    def undo(self, address: Address, age: int) -> None:
        """Of the claim that holds the address, or of one before it, which another of the same owner has displaced."""
        generation = self._generation_of(address) - age
        done = self._same(self.memory.undo(address, generation), self.sql.undo(address, generation))
        holds = address in self.live and not age
        owned = holds and self.reserved.get(address, (None,))[0] == self.live[address][0]
        assert done == owned
        if holds:
            del self.live[address]
        if owned:
            del self.reserved[address]

    @rule(address=addresses, who=people, worker=workers, terms=terms)
    def claim_twice_and_undo_the_first(self, address: Address, who: Identity, worker: WorkerId, terms: Terms) -> None:
        """Two connections of one identity: the first gives up what it has made after the second has it."""
        self.claim(address, who, worker, terms)
        first = self._generation_of(address)
        self.claim(address, who, worker, terms)
        if self._generation_of(address) != first:
            assert not self._same(self.memory.undo(address, first), self.sql.undo(address, first))

    @rule(address=addresses, who=people)
    def free(self, address: Address, who: Identity) -> None:
        done = self._same(self.memory.free(address, who.id), self.sql.free(address, who.id))
        if done:
            assert self.reserved.pop(address)[0] == who.id

    @rule(worker=workers)
    def renew(self, worker: WorkerId) -> None:
        self._same(self.memory.renew(worker, now=self.now), self.sql.renew(worker, now=self.now))
        for address, (_, _, served_by) in self.live.items():
            if served_by == worker:
                self._touched(address, used=False)

    @rule(worker=st.none() | workers)
    def retire(self, worker: WorkerId | None) -> None:
        gone = [address for address, (_, _, served_by) in self.live.items() if worker in (None, served_by)]
        ended = self._same(self.memory.retire(worker, now=self.now), self.sql.retire(worker, now=self.now))
        assert ended == len(gone)
        for address in gone:
            self._touched(address, used=True)
            del self.live[address]

    @rule()
    def prune(self) -> None:
        over = {
            address
            for address in self.reserved
            if address not in self.live and self._until(address) < self.now and self._until(address) + REST <= self.now
        }
        gone = self._same(
            self.memory.prune(now=self.now, keep=KEEP, rest=REST), self.sql.prune(now=self.now, keep=KEEP, rest=REST)
        )
        assert gone == len(over)
        for address in over:
            del self.reserved[address]

    @rule()
    def restart(self) -> None:
        self._await(self.store.close())
        self._open()

    @invariant()
    def both_tell_the_same_and_it_is_what_the_model_holds(self) -> None:
        if not hasattr(self, "store"):
            return
        ours, theirs = self._await(self._look())
        assert ours == theirs
        leases, found, everybodys, _made = ours
        held = [lease and (lease.owner, lease.generation, lease.worker) for lease in leases]
        assert held == [self.live.get(address) for address in ADDRESSES]
        assert [reservation and reservation.owner for reservation in found] == [
            self._in_force(address) for address in ADDRESSES
        ]
        assert {r.address: (r.owner, r.last_used, r.used) for r in everybodys} == self.reserved

    async def _look(self) -> list[Any]:
        async def one(engine: MemoryRegistry | DurableRegistry) -> Any:
            since = self.now - 86400
            return await asyncio.gather(
                asyncio.gather(*(engine.lookup(address) for address in ADDRESSES)),
                asyncio.gather(*(engine.reservation(address, now=self.now, keep=KEEP) for address in ADDRESSES)),
                engine.reservations(None),
                engine.reservations_from_network("192.0.2.0/24", since=since),
            )

        return [await one(self.memory), await one(self.sql)]

    def _in_force(self, address: Address) -> IdentityId | None:
        if address not in self.reserved:
            return None
        return self.reserved[address][0] if address in self.live or self.now <= self._until(address) else None

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self._await(self.store.close())
        self.runner.close()
        self.folder.cleanup()

    def _generation_of(self, address: Address) -> int:
        return self.live[address][1] if address in self.live else self.generation

    def _touched(self, address: Address, *, used: bool) -> None:
        if address in self.reserved and self.reserved[address][0] == self.live[address][0]:
            owner, _, before = self.reserved[address]
            self.reserved[address] = (owner, self.now, before or used)


TestEngines = Engines.TestCase
TestEngines.settings = settings(
    max_examples=25, stateful_step_count=25, suppress_health_check=list(HealthCheck), database=None
)
