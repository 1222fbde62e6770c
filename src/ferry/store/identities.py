"""Who a key belongs to. Identities own names; keys only point at them, and may come to point at another one."""

from __future__ import annotations

from sqlalchemy import Connection, delete, exists, func, insert, or_, select, update

from ferry.clock import random_token
from ferry.names import Fingerprint, Identity, IdentityId

from .engine import Store
from .tables import identities, keys, leases, reservations


class Identities:
    """Keys and the identities they stand for."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def identity_for_key(
        self, fingerprint: Fingerprint, algorithm: str, name: str | None, now: float
    ) -> Identity:
        """Whose key this is. Only for a key that has signed: this call makes what is missing.

        Without a `name` (the operator wrote none beside the key) a known key keeps its identity, whatever that is
        called by now, and a new key gets an identity of its own. With one it belongs to the identity of that name.
        Where none has that name yet and the key was its identity's only one, that identity takes the name. Otherwise
        the key moves, and what its former identity had reserved moves along if that has no key left.
        """

        def transaction(connection: Connection) -> Identity:
            known = connection.execute(
                select(keys.c.identity, identities.c.name).join(identities).where(keys.c.fingerprint == fingerprint)
            ).one_or_none()
            if known is None:
                identity = _named(connection, name, now)
                connection.execute(
                    insert(keys).values(
                        fingerprint=fingerprint, algorithm=algorithm, identity=identity, first_seen=now, last_seen=now
                    )
                )
                return Identity(identity, name, fingerprint)
            identity, current = IdentityId(known[0]), known[1]
            if name is not None and name != current:
                identity, current = _rename_or_move(connection, fingerprint, identity, name, now), name
            seen = update(keys).where(keys.c.fingerprint == fingerprint)
            connection.execute(seen.values(last_seen=now, algorithm=algorithm))
            return Identity(identity, current, fingerprint)

        return await self._store.run(transaction)

    async def prune(self, before: float) -> int:
        """Forget keys last seen before `before` whose identity has no name, no reservation and no lease.

        For a daily call: with `access.mode = anyone` each new key makes a row. Returns how many identities went.
        """
        fresh = exists().where(keys.c.identity == identities.c.id, keys.c.last_seen >= before)
        reserved = exists().where(reservations.c.owner == identities.c.id)
        live = exists().where(leases.c.owner == identities.c.id)
        stale = select(identities.c.id).where(identities.c.name.is_(None), ~or_(fresh, reserved, live))

        def transaction(connection: Connection) -> int:
            connection.execute(delete(keys).where(keys.c.identity.in_(stale)))
            empty = ~exists().where(keys.c.identity == identities.c.id)
            return connection.execute(delete(identities).where(identities.c.name.is_(None), empty)).rowcount

        return await self._store.run(transaction)


def _named(connection: Connection, name: str | None, now: float) -> IdentityId:
    """The identity called `name`; a new one if there is none, or if `name` is None."""
    if name is not None:
        found: str | None = connection.scalar(select(identities.c.id).where(identities.c.name == name))
        if found is not None:
            return IdentityId(found)
    made = IdentityId(random_token())
    connection.execute(insert(identities).values(id=made, name=name, created=now))
    return made


def _rename_or_move(
    connection: Connection, fingerprint: Fingerprint, old: IdentityId, name: str, now: float
) -> IdentityId:
    taken = connection.scalar(select(identities.c.id).where(identities.c.name == name)) is not None
    if not taken and _keys_of(connection, old) == 1:
        connection.execute(update(identities).where(identities.c.id == old).values(name=name))
        return old
    new = _named(connection, name, now)
    connection.execute(update(keys).where(keys.c.fingerprint == fingerprint).values(identity=new))
    if _keys_of(connection, old) == 0:
        for table in (reservations, leases):
            connection.execute(update(table).where(table.c.owner == old).values(owner=new))
        connection.execute(delete(identities).where(identities.c.id == old))
    return new


def _keys_of(connection: Connection, identity: IdentityId) -> int:
    count: int = connection.execute(
        select(func.count()).select_from(keys).where(keys.c.identity == identity)
    ).scalar_one()
    return count
