"""A registry in memory: the plainest reading of the contract. Tests compare the durable one with it."""

from __future__ import annotations

from dataclasses import replace

from ferry import limits
from ferry.names import Address, Identity, IdentityId, WorkerId
from ferry.registry.contract import Claimed, Lease, Reservation, Taken, Terms
from ferry.registry.rules import (
    AddressState,
    RecentReservations,
    claimed_again,
    in_force,
    over_limit,
    refusal,
    reservation_of,
    resting,
)


class MemoryRegistry:
    """Implements `registry.contract.Registry` in dicts. No method waits, so every one is a transaction on the event loop."""

    def __init__(self) -> None:
        self._reservations: dict[Address, Reservation] = {}
        self._leases: dict[Address, Lease] = {}
        self._made: list[tuple[str, float]] = []
        self._generation = 0

    async def claim(
        self, address: Address, identity: Identity, worker: WorkerId, *, now: float, terms: Terms
    ) -> Claimed | Taken:
        if (taken := await self.would_refuse(address, identity, now=now, terms=terms)) is not None:
            return taken
        state = self._state_of(address)
        mine, name = reservation_of(state, identity), str(identity)
        reserved = mine is not None or terms.reserve
        self._generation += 1
        lease = self._leases[address] = Lease(address, identity.id, worker, self._generation, now, name)
        self._reservations.pop(address, None)
        if mine is not None:
            self._reservations[address] = claimed_again(
                mine, name, now=now, terms=terms, taken_over=state.lease is not None
            )
        elif reserved:
            self._make(lease, terms, now, used=False)
        return Claimed(lease, state.lease, reserved, reserved and mine is None)

    async def would_refuse(self, address: Address, identity: Identity, *, now: float, terms: Terms) -> Taken | None:
        state = self._state_of(address)
        if (taken := refusal(state, identity, now=now, terms=terms)) is not None:
            return taken
        mine = reservation_of(state, identity)
        if not terms.reserve if mine is None else in_force(state, now=now, keep=terms.keep):
            return None
        return self._over_limit(terms, identity.id, str(identity), now=now, new=mine is None)

    async def reserve(self, address: Address, generation: int, *, now: float, terms: Terms) -> bool:
        state = self._state_of(address)
        lease = state.lease
        if lease is None or lease.generation != generation:
            return False
        if state.reservation is not None:  # a claim leaves nobody else's, and refuses others while the lease is live
            return True
        if self._over_limit(terms, lease.owner, lease.owner_name, now=now, new=True):
            return False
        self._make(lease, terms, now, used=True)
        return True

    async def release(self, address: Address, generation: int, *, now: float, used: bool = True) -> bool:
        lease = self._leases.get(address)
        if lease is None or lease.generation != generation:
            return False
        self._end(lease, now, used=used)
        return True

    async def undo(self, address: Address, generation: int) -> bool:
        lease = self._leases.get(address)
        if lease is None or lease.generation != generation:
            return False
        del self._leases[address]
        return await self.free(address, lease.owner)

    async def free(self, address: Address, owner: IdentityId) -> bool:
        reservation = self._reservations.get(address)
        if reservation is None or reservation.owner != owner:
            return False
        del self._reservations[address]
        return True

    async def lookup(self, address: Address) -> Lease | None:
        return self._leases.get(address)

    async def reservation(self, address: Address, *, now: float, keep: float) -> Reservation | None:
        state = self._state_of(address)
        return state.reservation if in_force(state, now=now, keep=keep) else None

    async def reservations(self, owner: IdentityId | None) -> list[Reservation]:
        mine = [found for found in self._reservations.values() if owner in (None, found.owner)]
        return sorted(mine, key=lambda found: (found.created, found.address.key))

    async def renew(self, worker: WorkerId, *, now: float) -> None:
        for lease in self._leases.values():
            if lease.worker == worker:
                self._use(lease, now, used=False)

    async def reservations_from_network(self, network: str, *, since: float) -> int:
        """The number of new reservations from `network` after `since`, including freed ones."""
        return self._recent_from(network, since).count

    async def prune(self, *, now: float, keep: float, rest: float) -> int:
        gone = [
            address
            for address, found in self._reservations.items()
            if not in_force(self._state_of(address), now=now, keep=keep)
            and not resting(found, now=now, keep=keep, rest=rest)
        ]
        for address in gone:
            del self._reservations[address]
        self._made = [(network, at) for network, at in self._made if at > now - limits.NAMES_NETWORK_SECONDS]
        return len(gone)

    async def retire(self, worker: WorkerId | None, *, now: float) -> int:
        ended = [lease for lease in self._leases.values() if worker in (None, lease.worker)]
        for lease in ended:
            self._end(lease, now, used=True)
        return len(ended)

    def _state_of(self, address: Address) -> AddressState:
        return AddressState(self._reservations.get(address), self._leases.get(address))

    def _recent_from(self, network: str, since: float) -> RecentReservations:
        times = [at for made_from, at in self._made if made_from == network and at > since]
        return RecentReservations(len(times), min(times, default=None))

    def _over_limit(self, terms: Terms, owner: IdentityId, owner_name: str, *, now: float, new: bool) -> Taken | None:
        others = sum(
            found.owner == owner and in_force(self._state_of(address), now=now, keep=terms.keep)
            for address, found in self._reservations.items()
        )
        recent = self._recent_from(terms.network, now - limits.NAMES_NETWORK_SECONDS) if new and terms.network else None
        return over_limit(terms, owner, owner_name, others=others, recent=recent)

    def _make(self, lease: Lease, terms: Terms, now: float, *, used: bool) -> None:
        self._reservations[lease.address] = Reservation(
            lease.address,
            lease.owner,
            lease.owner_name,
            terms.derived,
            created=now,
            last_used=now,
            used=used,
            label=terms.label,
        )
        if terms.network:
            self._made.append((terms.network, now))

    def _use(self, lease: Lease, now: float, *, used: bool) -> None:
        found = self._reservations.get(lease.address)
        if found is not None:
            last_used = max(found.last_used, now)
            self._reservations[lease.address] = replace(found, last_used=last_used, used=found.used or used)

    def _end(self, lease: Lease, now: float, *, used: bool) -> None:
        self._use(lease, now, used=used)
        del self._leases[lease.address]
