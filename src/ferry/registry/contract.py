"""What every registry engine does. `tests/registry/test_contract.py` runs against each of them.

Two facts are kept per address. A **reservation** says whose it is; it lasts `keep` seconds past its last use. A
**lease** says which worker serves it now and carries a generation, a number that only grows over the whole registry,
so that an older holder is told from a newer one without any clock. `claim` decides on both in one transaction.

All times are seconds since the epoch and are passed in by the caller: reservations outlive the process. A clock that
is set back never makes a use older: `last_used` only grows. While a clock is ahead by more than `keep` and `rest`, what is
not in use counts as run out.

A reservation goes through three times. It is **in force** until `last_used + keep`, and for as long as its owner
serves the address. Then it **rests**, while `now < last_used + keep + rest`: the last owner takes it up again by
claiming, everybody else is refused. After that the address is anybody's, and whoever claims it ends the old owner's
memory of it.

A caller that is cancelled while it waits holds no lease: where its claim went through all the same, the lease that it
displaced is put back, or there is none. A reservation that it made stays: its owner did ask for it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Protocol

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
    owner_name: str = ""
    """For people, as `str(Identity)` gave it."""


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
    NETWORK_LIMIT = "network_limit"
    """As many new reservations as allowed were made from this network within a day."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The operator's rules for one claim (`[names]` in the configuration), in seconds and counts."""

    keep: float
    rest: float
    reserve: bool
    """Reserve at once. False for anonymous clients, and where a name must first be used for a while."""
    derived: bool
    max_reservations: int
    network: str = ""
    """The asker's IPv4 /24 or IPv6 /64, noted with a new reservation. Empty: not noted and not limited."""
    max_per_network_day: int | None = None
    """New reservations from `network` within `limits.NAMES_NETWORK_SECONDS`. None: no limit."""


UNWRITTEN: Final = 0
"""The generation of a lease that is not in the database, which gives none below 1."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The claim holds. `displaced` is the lease of the same owner that it replaced, if there was one."""

    lease: Lease
    displaced: Lease | None
    reserved: bool
    new: bool = False
    """This claim made the reservation."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The claim was refused. `owner_name` is for the log, and for the asker only where it is its own."""

    reason: TakenBy
    owner: IdentityId | None
    owner_name: str
    until: float | None
    """When asking again may help, where that is known (RESTING, NETWORK_LIMIT)."""


class Registry(Protocol):
    """The engine. Methods raise `StoreUnavailable` (ferry.registry.contract) when the database cannot be reached."""

    async def claim(
        self, address: Address, identity: Identity, worker: WorkerId, *, now: float, terms: Terms
    ) -> Claimed | Taken:
        """Take `address` for `identity`.

        The same identity always wins over its own older lease, at once. Another one's reservation in force (RESERVED),
        live lease (LIVE) or resting reservation (RESTING) refuses, in this order. An existing own reservation is kept,
        also when `terms.reserve` is false: its `last_used` becomes now, and once asked for by name it is no longer
        `derived`. One that rested is taken up again if there is room for it under `terms.max_reservations`.

        A new reservation needs room under `terms.max_reservations` (those in force count) and
        `terms.max_per_network_day`; without it the whole claim is refused, and a lease held so far stays as it was.
        """
        ...

    async def reserve(self, address: Address, generation: int, *, now: float, terms: Terms) -> bool:
        """Reserve an address that is already held under `generation` (after its trial time), for whoever holds it.

        True if it is reserved now. False if it is not held so, or if one of the limits in `terms` stands against it:
        then it stays served without a reservation, and may be tried again later.
        """
        ...

    async def release(self, address: Address, generation: int, *, now: float) -> bool:
        """End the lease, if `generation` still holds it. The reservation stays; its `last_used` becomes `now`."""
        ...

    async def undo(self, address: Address, generation: int) -> bool:
        """Take back a claim that made a reservation (`Claimed.new`) and was never put into service: end its lease and
        drop the reservation, both or neither. Only while `generation` still holds the lease: whoever claimed since, of
        the same identity, keeps both. True if the reservation went. The network's count of new ones stays."""
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

    async def reservations(self, owner: IdentityId | None) -> list[Reservation]:
        """Everything `owner` has reserved (None: everybody), oldest first; also what rests, or rested and was taken by
        nobody since (`last_used` tells)."""
        ...

    async def renew(self, worker: WorkerId, *, now: float) -> None:
        """The worker's heartbeat: one row, and `last_used` of what it serves (in one statement)."""
        ...

    async def prune(self, *, now: float, keep: float, rest: float) -> int:
        """Forget reservations whose rest is over, and old counts per network. Changes no decision; returns how many
        reservations went. For a daily call: without it tables grow with every name ever used."""
        ...

    async def retire(self, worker: WorkerId | None, *, now: float) -> int:
        """End all leases of a worker that is gone (None: of every worker, at the start of the only one), as `release`
        does: what was in use when a gateway went down does not run out while it is down. Returns how many ended."""
        ...


class StoreUnavailable(Exception):
    """The database cannot be reached or cannot be written. Running tunnels go on; new claims are refused.

    The text is for the log; `public` is what a client may be told, and names no path. `readable`: only writing fails
    (a full disk), so whatever does without it may be tried.
    """

    def __init__(
        self, detail: str, *, public: str = "the gateway cannot reach its database", readable: bool = False
    ) -> None:
        super().__init__(detail)
        self.public = public
        self.readable = readable
