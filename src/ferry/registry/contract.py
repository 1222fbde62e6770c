"""The contract of every registry engine. `tests/registry/test_contract.py` runs against each of them.

A registry keeps two facts per address. A **reservation** names the owner; it lasts `keep` seconds past its last use. A
**lease** names the worker that serves the address now. It has a generation, a number that only grows over the whole
registry: the newer of two holders has the larger one, whatever their clocks say. `claim` decides on both in one
transaction.

A name is kept by use. A new reservation is **unused** until its name was up for `limits.NAMES_USED_AFTER_SECONDS` or had a
visitor, which the caller of `release` says. A lease counts as used too if its owner takes the address over while it is
up, and if nobody has seen its end (`retire`). An unused reservation is kept `limits.NAMES_UNUSED_KEEP_SECONDS` at most.

All times are seconds since the epoch and are passed in by the caller: reservations outlive the process. A clock that
is set back never makes a use older: `last_used` only grows. While a clock is ahead by more than `keep` and `rest`, what is
not in use counts as run out.

A reservation has three periods. It is **in force** until `kept = last_used + keep` (less if it is unused), and for as long
as its owner serves the address. Then it **rests**, while `now < kept + rest`: its owner may take it up again with a claim, and the
registry refuses everybody else. After that anybody may claim the address, and the new claim replaces the reservation.

A reservation with a **label** is an allocation of the port table: it is kept for good, until the operator frees it. One
that the operator has made before its owner came was never used, and has NEVER as its `last_used`.

A caller that is cancelled while it waits holds no lease. If its claim was committed all the same, the engine ends the
new lease and puts back the one that it displaced. A reservation that it made stays: its owner did ask for it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Protocol

from ferry.names import Address, Identity, IdentityId, WorkerId

NEVER: Final = 0.0
"""The `last_used` of an allocation that nobody has used yet."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """`owner` holds `address` until `rules.kept_until`, and keeps it while it has a live lease."""

    address: Address
    owner: IdentityId
    owner_name: str
    """For people, as `str(Identity)` gave it when last claimed."""
    derived: bool
    """The gateway chose the address (two words, an allocated port)."""
    created: float
    last_used: float
    used: bool = True
    """It was up for `limits.NAMES_USED_AFTER_SECONDS`, or had a visitor. Otherwise it is kept for
    `limits.NAMES_UNUSED_KEEP_SECONDS` at most."""
    label: str | None = None
    """The purpose of a port that is kept for good; empty if it has none. None: it is kept by use."""


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
    """Its reservation ran out, and rests. Only its owner may have it before `until`."""
    OVER_LIMIT = "over_limit"
    """This identity has as many reservations as it may have."""
    NETWORK_LIMIT = "network_limit"
    """This network has made as many new reservations within a day as it may."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The operator's rules for one claim (`[names]` in the configuration), in seconds and counts."""

    keep: float
    rest: float
    reserve: bool
    """Reserve at once. False for anonymous clients, and if a name must first be used for `names.reserve_after`."""
    derived: bool
    max_reservations: int
    network: str = ""
    """The asker's IPv4 /24 or IPv6 /64, noted with a new reservation. Empty: not noted and not limited."""
    max_per_network_day: int | None = None
    """New reservations from `network` within `limits.NAMES_NETWORK_SECONDS`. None: no limit."""
    label: str | None = None
    """Keep the reservation for good, with this label. None: as it is, or by use if it is new."""
    given: bool = False
    """The operator's files give the address to the asker and to nobody else: a reservation of another identity, which
    can have no use for it, gives way. Its live lease does not."""


UNWRITTEN: Final = 0
"""The generation of a lease that is not in the database, which gives none below 1."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The claim succeeded. `displaced` is the older lease of the same owner, if there was one."""

    lease: Lease
    displaced: Lease | None
    reserved: bool
    new: bool = False
    """This claim made the reservation."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The claim was refused. `owner_name` is for the log; show it to the asker only if it is the owner."""

    reason: TakenBy
    owner: IdentityId | None
    owner_name: str
    until: float | None
    """When another try may succeed, if that is known (RESTING, NETWORK_LIMIT)."""


class Registry(Protocol):
    """The engine. Methods raise `StoreUnavailable` (ferry.registry.contract) when the database cannot be reached."""

    async def claim(
        self, address: Address, identity: Identity, worker: WorkerId, *, now: float, terms: Terms
    ) -> Claimed | Taken:
        """Take `address` for `identity`.

        The same identity always wins over its own older lease, at once. Otherwise these refuse the claim, in this order:
        another identity's reservation in force (RESERVED), its live lease (LIVE), its resting reservation (RESTING). The
        asker's own reservation stays, also when `terms.reserve` is false. Its `last_used` becomes now; once it is asked
        for by name it is no longer `derived`. A resting one must fit under `terms.max_reservations` again.

        A new reservation must fit under `terms.max_reservations` (those in force count) and
        `terms.max_per_network_day`. Otherwise the whole claim is refused, and an existing lease stays as it was.
        """
        ...

    async def would_refuse(self, address: Address, identity: Identity, *, now: float, terms: Terms) -> Taken | None:
        """The refusal that `claim` would return, or None. It changes nothing. Where the database took no writes lately, it
        raises what the claim would raise."""
        ...

    async def reserve(self, address: Address, generation: int, *, now: float, terms: Terms) -> bool:
        """Reserve an address for the holder of the lease with `generation` (after its trial time).

        True if it is reserved now, and used: that is what the trial was for. False if no lease has that generation, or a
        limit in `terms` forbids it: the address is then served without a reservation, and the caller may try again later.
        """
        ...

    async def release(self, address: Address, generation: int, *, now: float, used: bool = True) -> bool:
        """End the lease if it has `generation`. The reservation stays; its `last_used` becomes `now`. `used`: the address
        was up for `limits.NAMES_USED_AFTER_SECONDS`, or had a visitor. Once used, a reservation stays so."""
        ...

    async def undo(self, address: Address, generation: int) -> bool:
        """Undo a claim that made a reservation (`Claimed.new`) and whose tunnel never opened: end its lease and drop the
        reservation, both or neither. It does nothing unless the lease has `generation`: a later claim of the same
        identity keeps both. True if the reservation was dropped. The network's count of new ones stays."""
        ...

    async def free(self, address: Address, owner: IdentityId) -> bool:
        """Drop `owner`'s reservation at once; it does not rest. A live lease stays until its tunnel closes. False if
        `owner` has no reservation of it."""
        ...

    async def lookup(self, address: Address) -> Lease | None:
        """The lease of the address, if a worker serves it now."""
        ...

    async def reservation(self, address: Address, *, now: float, keep: float) -> Reservation | None:
        """The reservation of the address, if it is in force."""
        ...

    async def reservations(self, owner: IdentityId | None) -> list[Reservation]:
        """All reservations of `owner` (None: of everybody), oldest first. They include those that rest, and those past
        their rest that were not claimed since (`last_used` tells)."""
        ...

    async def renew(self, worker: WorkerId, *, now: float) -> None:
        """The worker's heartbeat: it updates one row, and `last_used` of all that the worker serves (in one statement)."""
        ...

    async def prune(self, *, now: float, keep: float, rest: float) -> int:
        """Delete reservations past their rest, and old counts per network. No decision changes. Returns the number of
        deleted reservations. Call it regularly: without it the tables grow with every name ever used."""
        ...

    async def retire(self, worker: WorkerId | None, *, now: float) -> int:
        """End all leases of a worker that is gone (None: of every worker, at the start of the only one). Like `release`
        it sets `last_used`, so that names in use when a gateway stops do not run out while it is down. They count as used.
        Returns the number of ended leases."""
        ...


class StoreUnavailable(Exception):
    """The database cannot be reached or cannot be written. Running tunnels go on; new claims are refused.

    The text is for the log; `public` is for clients, and names no path. `readable`: only writing fails (a full disk), so
    that operations that only read may be tried.
    """

    def __init__(
        self, detail: str, *, public: str = "the gateway cannot reach its database", readable: bool = False
    ) -> None:
        super().__init__(detail)
        self.public = public
        self.readable = readable

    def again(self) -> StoreUnavailable:
        """The same for another caller: each raises its own."""
        return StoreUnavailable(str(self), public=self.public, readable=self.readable)
