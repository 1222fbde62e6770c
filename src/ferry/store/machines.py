"""What the operator's lists say about identities, and what the operator does with their keys: names, keys, ports, and how
their machines call themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ferry.errors import InvalidInput
from ferry.kinds import kind_of
from ferry.kinds.port import TCP
from ferry.names import Address, Fingerprint, IdentityId
from ferry.registry.contract import NEVER

from .dialect import Connection, only_row
from .engine import Store
from .identities import called, move_key, named, rename_or_move

_IDENTITIES: Final = "SELECT id, name, host FROM identities"
_KEYS: Final = "SELECT fingerprint, identity, last_seen, entered FROM keys ORDER BY fingerprint"
_KEY: Final = """
    SELECT keys.identity, identities.name, keys.entered FROM keys JOIN identities ON identities.id = keys.identity
    WHERE keys.fingerprint = :fingerprint"""
_ENTER: Final = """
    INSERT INTO keys (fingerprint, algorithm, identity, entered) VALUES (:fingerprint, :algorithm, :identity, :entered)"""
_ENTERED: Final = "UPDATE keys SET entered = :entered WHERE fingerprint = :fingerprint"
_DROP: Final = "DELETE FROM keys WHERE fingerprint = :fingerprint"
_COUNT: Final = "SELECT count(*) FROM keys WHERE identity = :identity"
_FORGET: Final = "DELETE FROM identities WHERE id = :identity"
_OWN: Final = "SELECT address, label FROM reservations WHERE owner = :owner ORDER BY created, address"
_TAKEN: Final = """
    SELECT address FROM reservations WHERE address LIKE 'tcp::%' UNION SELECT address FROM leases WHERE address LIKE 'tcp::%'"""
_LABEL: Final = "UPDATE reservations SET label = :label WHERE address = :address"
_ALLOCATE: Final = """
    INSERT INTO reservations (address, owner, owner_name, derived, created, last_used, used, label)
    VALUES (:address, :owner, :owner_name, FALSE, :now, :never, FALSE, :label)"""
_CALL: Final = "UPDATE reservations SET owner_name = :owner_name WHERE owner = :owner"
_FREE: Final = "DELETE FROM reservations WHERE owner = :owner"


class Machine(NamedTuple):
    """An identity."""

    name: str | None
    host: str | None
    """What a session of it has called its machine last."""


class KnownKey(NamedTuple):
    """A key of an identity."""

    identity: IdentityId
    last_seen: float | None
    """Seconds since the epoch; None: it has never logged in."""
    entered: bool
    """It keeps the name of its identity though its line does not say it."""


@dataclass(frozen=True, slots=True)
class Known:
    """All identities and keys."""

    machines: dict[IdentityId, Machine]
    keys: dict[Fingerprint, KnownKey]
    named: dict[str, IdentityId]

    def identity_of(self, fingerprint: Fingerprint, name: str | None) -> IdentityId | None:
        """The identity that a log-in with this key would get, if there is one already. `name` is that of its line."""
        if name is not None:
            return self.named.get(name)
        known = self.keys.get(fingerprint)
        if known is None or known.entered or self.machines[known.identity].name is None:
            return None if known is None else known.identity
        alone = sum(other.identity == known.identity for other in self.keys.values()) == 1
        return known.identity if alone else None  # which then loses its name, or stays with the other keys


class NewKey(NamedTuple):
    """A key that the operator enters."""

    fingerprint: Fingerprint
    algorithm: str
    entered: bool = False
    """Its line will not say the name."""


class Wanted(NamedTuple):
    """A port to allocate."""

    label: str
    """`ssh`, or `service:grafana`: the purpose, and what tells several ports of it apart."""
    first: int
    last: int
    taken: frozenset[int]
    """Ports between them that lines of key files keep for others."""


class Held(NamedTuple):
    """An address of an identity."""

    address: Address
    label: str | None


class Replaced(NamedTuple):
    """What a new key has taken over."""

    name: str | None
    held: list[Held]


class MachineStore:
    """The identities, for the operator. Every method is one transaction, and raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def known(self) -> Known:
        """Everything."""
        return await self._store.run(_known)

    async def enrol(self, name: str, key: NewKey, wanted: Sequence[Wanted], now: float) -> dict[str, int]:
        """Enter a key for the identity called `name`, and allocate its ports, by their labels. What it has already it
        keeps. Raises InvalidInput if there is no port left; then nothing has changed."""
        return await self._store.run(lambda connection: _enrol(connection, name, key, wanted, now))

    async def replace(self, old: Fingerprint, name: str | None, key: NewKey, now: float) -> Replaced:
        """Give all that the identity of `old` has to `key`, and forget `old`. `name` is that of its line. Once done, it
        changes nothing more. Raises InvalidInput if the key is another's."""
        return await self._store.run(lambda connection: _replace(connection, old, name, key, now))

    async def forget(self, keys: Iterable[Fingerprint], name: str | None, *, keep: bool) -> list[Held] | None:
        """Forget keys. Names and ports of an identity without any other key are given back, unless they are to be kept.
        Returns them; None: the identity has other keys, and keeps all."""
        gone = list(keys)
        return await self._store.run(lambda connection: _forget(connection, gone, name, keep=keep))


def _known(connection: Connection) -> Known:
    machines = {IdentityId(row[0]): Machine(*row[1:]) for row in connection.execute(_IDENTITIES)}
    keys = {
        Fingerprint(row[0]): KnownKey(IdentityId(row[1]), row[2], bool(row[3])) for row in connection.execute(_KEYS)
    }
    by_name = {machine.name: identity for identity, machine in machines.items() if machine.name is not None}
    return Known(machines, keys, by_name)


def _enrol(connection: Connection, name: str, key: NewKey, wanted: Sequence[Wanted], now: float) -> dict[str, int]:
    known = only_row(connection, _KEY, {"fingerprint": key.fingerprint})
    if known is None:
        owner = named(connection, name, now)
        connection.execute(_ENTER, {**key._asdict(), "identity": owner})
    else:
        owner = IdentityId(known[0])
        if known[1] != name:
            owner = rename_or_move(connection, key.fingerprint, owner, name, now)
    connection.execute(_ENTERED, {"fingerprint": key.fingerprint, "entered": key.entered})
    return {one.label: _allocated(connection, owner, f"{name} ({key.fingerprint})", one, now) for one in wanted}


def _allocated(connection: Connection, owner: IdentityId, owner_name: str, wanted: Wanted, now: float) -> int:
    """The port of `owner` with this label: the one that it has, one that it uses already, or the first free one."""
    own = {
        one.address.port: one.label
        for one in _held(connection, owner)
        if kind_of(one.address.kind).is_port and wanted.first <= one.address.port <= wanted.last
    }
    for port, label in own.items():
        if label == wanted.label:
            return port
    for port, label in own.items():
        if not label:  # kept by use, or without a purpose
            connection.execute(_LABEL, {"label": wanted.label, "address": TCP.address(port).key})
            return port
    taken = {Address.from_key(row[0]).port for row in connection.execute(_TAKEN)} | wanted.taken
    free = next((port for port in range(wanted.first, wanted.last + 1) if port not in taken), None)
    if free is None:
        raise InvalidInput(
            f"all ports of {wanted.label.partition(':')[0]} ({wanted.first} to {wanted.last}) are taken: give one back with `ferry release "
            "PORT`, or write a larger range in tcp.purposes"
        )
    values = {"owner": owner, "owner_name": owner_name, "now": now, "never": NEVER, "label": wanted.label}
    connection.execute(_ALLOCATE, {"address": TCP.address(free).key, **values})
    return free


def _held(connection: Connection, owner: IdentityId) -> list[Held]:
    return [Held(Address.from_key(row[0]), row[1]) for row in connection.execute(_OWN, {"owner": owner})]


def _replace(connection: Connection, old: Fingerprint, name: str | None, key: NewKey, now: float) -> Replaced:
    before = only_row(connection, _KEY, {"fingerprint": old})
    there = only_row(connection, _KEY, {"fingerprint": key.fingerprint})
    if name is not None:
        known = None if before is None else IdentityId(before[0])
        owner = named(connection, name, now) if known is None else rename_or_move(connection, old, known, name, now)
    elif before is not None:
        owner, name = IdentityId(before[0]), before[1]
        if not before[2]:
            owner, name = rename_or_move(connection, old, owner, None, now), None
    else:  # it has never come, or was replaced before
        owner = named(connection, None, now) if there is None else IdentityId(there[0])
        name = None if there is None else there[1]
    if there is None:
        connection.execute(_ENTER, {**key._asdict(), "identity": owner})
    elif there[0] != owner:
        if there[1] is not None:
            raise InvalidInput(
                f"the new key is one of {there[1]}: `ferry keys remove {key.fingerprint}` takes it away there"
            )
        move_key(connection, key.fingerprint, IdentityId(there[0]), owner)
    if before is not None:
        connection.execute(_ENTERED, {"fingerprint": key.fingerprint, "entered": bool(before[2])})
    if old != key.fingerprint:
        connection.execute(_DROP, {"fingerprint": old})
    called = f"{name} ({key.fingerprint})" if name else key.fingerprint
    connection.execute(_CALL, {"owner": owner, "owner_name": called})
    return Replaced(name, _held(connection, owner))


def _forget(connection: Connection, keys: Sequence[Fingerprint], name: str | None, *, keep: bool) -> list[Held] | None:
    rows = [only_row(connection, _KEY, {"fingerprint": key}) for key in keys]
    owners = {IdentityId(row[0]) for row in rows if row is not None}
    if (of_name := called(connection, name)) is not None:
        owners.add(of_name)
    for key in keys:
        connection.execute(_DROP, {"fingerprint": key})
    alone = [owner for owner in owners if only_row(connection, _COUNT, {"identity": owner})[0] == 0]
    if owners and not alone:
        return None
    held = [one for owner in alone for one in _held(connection, owner)]
    if not keep:
        for owner in alone:
            connection.execute(_FREE, {"owner": owner})
            connection.execute(_FORGET, {"identity": owner})
    return held
