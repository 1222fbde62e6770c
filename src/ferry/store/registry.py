"""The registry in the database: `ferry.registry.contract.Registry`, durable, with the decisions of `registry.rules`.

Each method is one transaction, and SQLite runs one at a time. On PostgreSQL a claim would first take an advisory lock
on its address; the statements stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    unused_keep,
)

from . import registry_sql as sql
from .dialect import Connection, only_row
from .engine import Store


class SqlRegistry:
    """Implements `contract.Registry` on a `Store`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def claim(
        self, address: Address, identity: Identity, worker: WorkerId, *, now: float, terms: Terms
    ) -> Claimed | Taken:
        def undo(connection: Connection, claimed: Claimed | Taken) -> None:
            if isinstance(claimed, Claimed):
                _take_back(connection, claimed, now)

        return await self._store.run(
            lambda connection: _claim(connection, address, identity, worker, now=now, terms=terms), undo=undo
        )

    async def would_refuse(self, address: Address, identity: Identity, *, now: float, terms: Terms) -> Taken | None:
        self._store.check_health()
        return await self._store.run(
            lambda connection: _refusal(connection, _state_of(connection, address), identity, now=now, terms=terms)
        )

    async def reserve(self, address: Address, generation: int, *, now: float, terms: Terms) -> bool:
        return await self._store.run(lambda connection: _reserve(connection, address, generation, now, terms))

    async def release(self, address: Address, generation: int, *, now: float, used: bool = True) -> bool:
        return await self._store.run(lambda connection: _release(connection, address, generation, now, used=used))

    async def undo(self, address: Address, generation: int) -> bool:
        asked = {"address": address.key, "generation": generation}

        def transaction(connection: Connection) -> bool:
            freed = connection.execute(sql.FREE_BY_GENERATION, asked).rowcount > 0
            connection.execute(sql.END, asked)
            return freed

        return await self._store.run(transaction)

    async def free(self, address: Address, owner: IdentityId) -> bool:
        asked = {"address": address.key, "owner": owner}
        return await self._store.run(lambda connection: connection.execute(sql.FREE, asked).rowcount > 0)

    async def lookup(self, address: Address) -> Lease | None:
        return await self._store.run(lambda connection: _state_of(connection, address).lease)

    async def reservation(self, address: Address, *, now: float, keep: float) -> Reservation | None:
        state = await self._store.run(lambda connection: _state_of(connection, address))
        return state.reservation if in_force(state, now=now, keep=keep) else None

    async def reservations(self, owner: IdentityId | None) -> list[Reservation]:
        def transaction(connection: Connection) -> list[Reservation]:
            if owner is None:
                rows = connection.execute(sql.ALL_RESERVATIONS)
            else:
                rows = connection.execute(sql.RESERVATIONS_OF, {"owner": owner})
            return [_reservation(Address.from_key(row[0]), row[1:]) for row in rows]

        return await self._store.run(transaction)

    async def renew(self, worker: WorkerId, *, now: float) -> None:
        await self._store.run(lambda connection: renew(connection, worker, now))

    async def prune(self, *, now: float, keep: float, rest: float) -> int:
        def transaction(connection: Connection) -> int:
            connection.execute(sql.PRUNE_MADE, {"since": now - limits.NAMES_NETWORK_SECONDS})
            return connection.execute(sql.PRUNE, {"now": now, "rest": rest, **_keep_values(keep)}).rowcount

        return await self._store.run(transaction)

    async def retire(self, worker: WorkerId | None, *, now: float) -> int:
        return await self._store.run(lambda connection: retire(connection, worker, now))


def renew(connection: Connection, worker: WorkerId, now: float) -> None:
    """`Registry.renew` as a transaction. It always writes a row."""
    asked = {"worker": worker, "now": now}
    if connection.execute(sql.HEARTBEAT, asked).rowcount == 0:
        connection.execute(sql.FIRST_HEARTBEAT, asked)
    connection.execute(sql.USE_BY_WORKER, {**asked, "used": False})


def retire(connection: Connection, worker: WorkerId | None, now: float) -> int:
    """`Registry.retire` as a transaction."""
    if worker is None:
        connection.execute(sql.USE_ALL, {"now": now, "used": True})
        connection.execute(sql.FORGET_WORKERS)  # each start is a new worker: their rows would pile up
        return connection.execute(sql.END_ALL).rowcount
    connection.execute(sql.USE_BY_WORKER, {"worker": worker, "now": now, "used": True})
    connection.execute(sql.FORGET_WORKER, {"worker": worker})
    return connection.execute(sql.END_BY_WORKER, {"worker": worker}).rowcount


def _claim(
    connection: Connection, address: Address, identity: Identity, worker: WorkerId, *, now: float, terms: Terms
) -> Claimed | Taken:
    state = _state_of(connection, address)
    if (taken := _refusal(connection, state, identity, now=now, terms=terms)) is not None:
        return taken
    mine, name = reservation_of(state, identity), str(identity)
    reserved = mine is not None or terms.reserve
    generation: int = only_row(connection, sql.NEXT_GENERATION, {})[0]
    lease = Lease(address, identity.id, worker, generation, now, name)
    if state.lease is None:
        connection.execute(sql.NEW_LEASE, {"address": address.key, **_lease_values(lease)})
    else:
        connection.execute(sql.CHANGE_LEASE, {"address": address.key, **_lease_values(lease)})
    if mine is not None:
        after = claimed_again(mine, name, now=now, terms=terms, taken_over=state.lease is not None)
        changed = {
            "owner_name": name,
            "derived": after.derived,
            "last_used": after.last_used,
            "used": after.used,
            "label": after.label,
        }
        connection.execute(sql.CHANGE_RESERVATION, {"address": address.key, **changed})
    else:
        if state.reservation is not None:  # of another identity: past its rest, or the address was given away
            connection.execute(sql.FREE, {"address": address.key, "owner": state.reservation.owner})
        if reserved:
            _make(connection, lease, terms, now, used=False)
    return Claimed(lease, state.lease, reserved, reserved and mine is None)


def _refusal(
    connection: Connection, state: AddressState, identity: Identity, *, now: float, terms: Terms
) -> Taken | None:
    """Why a claim of the address in `state` is refused; None if it is not."""
    if (taken := refusal(state, identity, now=now, terms=terms)) is not None:
        return taken
    mine = reservation_of(state, identity)
    if not terms.reserve if mine is None else in_force(state, now=now, keep=terms.keep):
        return None
    return _over_limit(connection, terms, identity.id, str(identity), now=now, new=mine is None)


def _take_back(connection: Connection, claimed: Claimed, now: float) -> None:
    """Undo a claim whose caller was cancelled, unless there is a newer one."""
    address, generation, before = claimed.lease.address, claimed.lease.generation, claimed.displaced
    if _release(connection, address, generation, now, used=False) and before is not None:
        connection.execute(sql.NEW_LEASE, {"address": address.key, **_lease_values(before)})


def _reserve(connection: Connection, address: Address, generation: int, now: float, terms: Terms) -> bool:
    state = _state_of(connection, address)
    lease = state.lease
    if lease is None or lease.generation != generation:
        return False
    if state.reservation is not None:  # a claim leaves nobody else's, and refuses others while the lease is live
        return True
    if _over_limit(connection, terms, lease.owner, lease.owner_name, now=now, new=True):
        return False
    _make(connection, lease, terms, now, used=True)
    return True


def _release(connection: Connection, address: Address, generation: int, now: float, *, used: bool) -> bool:
    asked = {"address": address.key, "generation": generation}
    connection.execute(sql.USE_BY_GENERATION, {"now": now, "used": used, **asked})
    return connection.execute(sql.END, asked).rowcount > 0


def _make(connection: Connection, lease: Lease, terms: Terms, now: float, *, used: bool) -> None:
    connection.execute(
        sql.NEW_RESERVATION,
        {
            "address": lease.address.key,
            "owner": lease.owner,
            "owner_name": lease.owner_name,
            "derived": terms.derived,
            "created": now,
            "last_used": now,
            "used": used,
            "label": terms.label,
        },
    )
    if terms.network:
        connection.execute(sql.NEW_MADE, {"network": terms.network, "at": now})


def _over_limit(
    connection: Connection, terms: Terms, owner: IdentityId, owner_name: str, *, now: float, new: bool
) -> Taken | None:
    asked = {"owner": owner, "now": now, **_keep_values(terms.keep)}
    others: int = only_row(connection, sql.IN_FORCE_OF, asked)[0]
    limited = new and terms.network and terms.max_per_network_day is not None
    recent = _recent_from(connection, terms.network, now - limits.NAMES_NETWORK_SECONDS) if limited else None
    return over_limit(terms, owner, owner_name, others=others, recent=recent)


def _keep_values(keep: float) -> dict[str, float]:
    return {"keep": keep, "unused_keep": unused_keep(keep)}


def _recent_from(connection: Connection, network: str, since: float) -> RecentReservations:
    count, oldest = only_row(connection, sql.MADE_FROM, {"network": network, "since": since})
    return RecentReservations(count, oldest)


def _state_of(connection: Connection, address: Address) -> AddressState:
    row = only_row(connection, sql.ADDRESS_STATE, {"address": address.key})
    return AddressState(
        None if row[0] is None else _reservation(address, row[:7]),
        None if row[7] is None else _lease(address, row[7:]),
    )


def _lease_values(lease: Lease) -> dict[str, object]:
    return {
        "owner": lease.owner,
        "owner_name": lease.owner_name,
        "worker": lease.worker,
        "generation": lease.generation,
        "claimed": lease.claimed,
    }


def _lease(address: Address, row: Sequence[Any]) -> Lease:
    owner, worker, generation, claimed, owner_name = row
    return Lease(address, owner, worker, generation, claimed, owner_name)


def _reservation(address: Address, row: Sequence[Any]) -> Reservation:
    owner, owner_name, derived, created, last_used, used, label = row
    return Reservation(address, owner, owner_name, bool(derived), created, last_used, bool(used), label)
