"""What every registry engine does. `tests/registry/test_contract.py` runs against each of them.

Two facts are kept per address. A **reservation** says whose it is; it lasts `keep` seconds past its last use. A
**lease** says which worker serves it now and carries a generation, a number that only grows over the whole registry,
so that an older holder is told from a newer one without any clock. `claim` decides on both in one transaction.

All times are seconds since the epoch and are passed in by the caller: reservations outlive the process.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from ferry.names import Address, Identity, IdentityId, WorkerId


@dataclass(frozen=True, slots=True)
class Reservation:
    """`owner` holds `address` until `last_used + keep`, and may not lose it while a lease is live."""

    address: Address
    owner: IdentityId
    owner_name: str
    """For people, as `str(Identity)` gave it when last claimed."""
    derived: bool
    """Given by us (two words, an allocated port), not asked for by name."""
    created: float
    last_used: float


@dataclass(frozen=True, slots=True)
class Lease:
    """`worker` serves `address` for `owner` now."""

    address: Address
    owner: IdentityId
    worker: WorkerId
    generation: int
    claimed: float


class TakenBy(enum.Enum):
    """Why a claim was refused."""

    RESERVED = "reserved"
    """Another identity has it reserved."""
    LIVE = "live"
    """Another identity serves it now without a reservation (an anonymous or a fresh one)."""
    RESTING = "resting"
    """Its reservation ran out a short while ago; only the last owner may have it before `until`."""
    OVER_LIMIT = "over_limit"
    """This identity has as many reservations as it may have."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The operator's rules for one claim (`[names]` in the configuration), in seconds and counts."""

    keep: float
    rest: float
    reserve: bool
    """Reserve at once. False for anonymous clients, and where a name must first be used for a while."""
    derived: bool
    max_reservations: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """The claim holds. `displaced` is the lease of the same owner that it replaced, if there was one."""

    lease: Lease
    displaced: Lease | None
    reserved: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """The claim was refused. `owner_name` is for the log, and for the asker only where it is its own."""

    reason: TakenBy
    owner: IdentityId | None
    owner_name: str
    until: float | None
    """When it may be free, where that is known (RESTING)."""


class Registry(Protocol):
    """The engine. Methods raise `StoreUnavailable` (ferry.registry.contract) when the database cannot be reached."""

    async def claim(
        self, address: Address, identity: Identity, worker: WorkerId, *, now: float, terms: Terms
    ) -> Claimed | Taken:
        """Take `address` for `identity`.

        The same identity always wins over its own older lease, at once. Another one's reservation or live lease
        refuses. A reservation whose time ran out (no live lease, `last_used + keep < now`) is dropped here, after
        which the address rests until `last_used + keep + rest`. An existing own reservation is kept (also when
        `terms.reserve` is false) and its `last_used` set to now.
        """
        ...

    async def reserve(self, address: Address, generation: int, *, now: float, terms: Terms) -> bool:
        """Reserve an address that is already held under `generation` (after its trial time). False if not held so."""
        ...

    async def release(self, address: Address, generation: int, *, now: float) -> bool:
        """End the lease, if `generation` still holds it. The reservation stays; its `last_used` becomes `now`."""
        ...

    async def free(self, address: Address, owner: IdentityId) -> bool:
        """Drop `owner`'s reservation at once, without a rest. A live lease stays until its tunnel closes.
        False if it is not theirs."""
        ...

    async def lookup(self, address: Address) -> Lease | None:
        """Who serves it now."""
        ...

    async def reservation(self, address: Address, *, now: float, keep: float) -> Reservation | None:
        """Whose it is, if its time has not run out."""
        ...

    async def reservations(self, owner: IdentityId) -> list[Reservation]:
        """Everything `owner` has reserved, oldest first."""
        ...

    async def renew(self, worker: WorkerId, *, now: float) -> None:
        """The worker's heartbeat: one row, and `last_used` of what it serves (in one statement)."""
        ...

    async def retire(self, worker: WorkerId | None, *, now: float) -> int:
        """End all leases of a worker that is gone (None: of every worker, at the start of the only one)."""
        ...


class StoreUnavailable(Exception):
    """The database cannot be reached or cannot be written. Running tunnels go on; new claims are refused."""
