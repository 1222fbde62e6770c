"""Maps keys, and the key ids of CAs, to identities. Identities own names. A key points at one identity, and may point at
another one later."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ferry.clock import random_token
from ferry.names import CertificateName, Fingerprint, Identity, IdentityId
from ferry.registry.contract import StoreUnavailable

from .dialect import Connection, only_row
from .engine import Store

_OWNER: Final = """
    SELECT keys.identity, identities.name, keys.entered FROM keys JOIN identities ON identities.id = keys.identity
    WHERE keys.fingerprint = :fingerprint"""
_NEW_KEY: Final = """
    INSERT INTO keys (fingerprint, algorithm, identity, first_seen, last_seen, entered)
    VALUES (:fingerprint, :algorithm, :identity, :now, :now, FALSE)"""
_SEEN: Final = """
    UPDATE keys SET first_seen = coalesce(first_seen, :now), last_seen = :now, algorithm = :algorithm, entered = :entered
    WHERE fingerprint = :fingerprint"""
_CALLED: Final = "SELECT id FROM identities WHERE name = :name"
_NEW: Final = "INSERT INTO identities (id, name, created) VALUES (:id, :name, :now)"
_RENAME: Final = "UPDATE identities SET name = :name WHERE id = :id"
_COUNT_KEYS: Final = "SELECT count(*) FROM keys WHERE identity = :id"
_MOVE_KEY: Final = "UPDATE keys SET identity = :new WHERE fingerprint = :fingerprint"
_MERGE: Final = (
    "UPDATE reservations SET owner = :new WHERE owner = :old",
    "UPDATE leases SET owner = :new WHERE owner = :old",
    "UPDATE connections SET identity = :new WHERE identity = :old",
    "DELETE FROM identities WHERE id = :old",
)
_PRUNE_KEYS: Final = """
    DELETE FROM keys WHERE identity IN (
        SELECT id FROM identities WHERE name IS NULL
        AND NOT EXISTS (SELECT 1 FROM keys WHERE keys.identity = identities.id AND keys.last_seen >= :before)
        AND NOT EXISTS (SELECT 1 FROM reservations WHERE reservations.owner = identities.id)
        AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.owner = identities.id))"""
_PRUNE: Final = """
    DELETE FROM identities
    WHERE name IS NULL AND NOT EXISTS (SELECT 1 FROM keys WHERE keys.identity = identities.id)"""


class IdentityStore:
    """Keys and their identities."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def identity_for_key(
        self, fingerprint: Fingerprint, algorithm: str, name: str | None, now: float
    ) -> Identity:
        """The identity of a key. Call it only for a key that has signed: it makes the rows that are missing.

        Without a `name` (the operator wrote none beside the key) a known key keeps its identity, if that has no name or the
        operator has entered the key for it, and a new key gets a new identity. With a `name` the key belongs to the
        identity of that name. If no identity has that name and the key is its identity's only one, that identity takes
        the name. Otherwise the key moves; if its old identity has no key left, the reservations of that move too.

        A name that the operator has taken out of the line goes likewise: the identity of this key alone loses it, and
        keeps all else; one with other keys keeps all, and this key gets a new identity.

        While nothing can be written (a full disk), a key whose identity does not change is still accepted.
        """
        return await self._owner_of(fingerprint, fingerprint, algorithm, name, now)

    async def identity_for_certificate(
        self, certificate: CertificateName, fingerprint: Fingerprint, now: float
    ) -> Identity:
        """The identity of a certificate's CA and key id, whatever its key (`fingerprint`) and its serial number. Call it
        only for one whose key has signed, as above."""
        # A fingerprint has no blank, so that no key has this one; the database keeps this form, and not `holder`.
        credential = f"{certificate.ca} {certificate.key_id}"
        owner = await self._owner_of(credential, fingerprint, "certificate", None, now)
        return replace(owner, certificate=certificate)

    async def _owner_of(
        self, credential: str, fingerprint: Fingerprint, algorithm: str, name: str | None, now: float
    ) -> Identity:
        """The identity that a key or a CA's key id (`credential`) points at. Raises StoreUnavailable."""

        def transaction(connection: Connection) -> Identity:
            key = {"fingerprint": credential, "algorithm": algorithm, "now": now}
            known = only_row(connection, _OWNER, key)
            if known is None:
                identity = named(connection, name, now)
                connection.execute(_NEW_KEY, {**key, "identity": identity})
                return Identity(identity, name, fingerprint)
            identity, current, entered = IdentityId(known[0]), known[1], bool(known[2]) and name is None
            wanted = current if entered else name
            if wanted != current:
                identity = rename_or_move(connection, credential, identity, wanted, now)
            connection.execute(_SEEN, {**key, "entered": entered})
            return Identity(identity, wanted, fingerprint, entered=entered)

        try:
            return await self._store.run(transaction)
        except StoreUnavailable as error:
            if not error.readable:
                raise
            known = await self._store.run(lambda connection: only_row(connection, _OWNER, {"fingerprint": credential}))
            if known is None or (name != known[1] and not (name is None and known[2])):
                raise
            return Identity(IdentityId(known[0]), known[1], fingerprint, entered=bool(known[2]))

    async def prune(self, before: float) -> int:
        """Delete keys last seen before `before` whose identity has no name, no reservation and no lease.

        Call it regularly: with `access.mode = anyone` each new key makes a row. Returns the number of deleted identities.
        """

        def transaction(connection: Connection) -> int:
            connection.execute(_PRUNE_KEYS, {"before": before})
            return connection.execute(_PRUNE).rowcount

        return await self._store.run(transaction)


def called(connection: Connection, name: str | None) -> IdentityId | None:
    """The identity called `name`; None if there is none, or if `name` is None."""
    found = only_row(connection, _CALLED, {"name": name})  # NULL equals nothing
    return IdentityId(found[0]) if found else None


def named(connection: Connection, name: str | None, now: float) -> IdentityId:
    """The identity called `name`; a new one if there is none, or if `name` is None."""
    if (found := called(connection, name)) is not None:
        return found
    made = IdentityId(random_token())
    connection.execute(_NEW, {"id": made, "name": name, "now": now})
    return made


def rename_or_move(
    connection: Connection, credential: str, old: IdentityId, name: str | None, now: float
) -> IdentityId:
    """Give a key of the identity `old` to the identity called `name`, or to one without a name, as `identity_for_key` says.
    Returns that one."""
    if called(connection, name) is None and _keys_of(connection, old) == 1:
        connection.execute(_RENAME, {"id": old, "name": name})
        return old
    new = named(connection, name, now)
    move_key(connection, credential, old, new)
    return new


def move_key(connection: Connection, credential: str, old: IdentityId, new: IdentityId) -> None:
    """Give a key of one identity to another. An identity that has no key left gives all that it had, its history too."""
    moved = {"old": old, "new": new}
    connection.execute(_MOVE_KEY, {"fingerprint": credential, "new": new})
    if _keys_of(connection, old) == 0:
        for statement in _MERGE:
            connection.execute(statement, moved)


def _keys_of(connection: Connection, identity: IdentityId) -> int:
    count: int = only_row(connection, _COUNT_KEYS, {"id": identity})[0]
    return count
