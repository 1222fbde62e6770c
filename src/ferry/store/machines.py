"""What the operator's lists say about identities: names, keys, and how their machines call themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from ferry.names import Fingerprint, IdentityId

from .dialect import Connection
from .engine import Store

_IDENTITIES: Final = "SELECT id, name, host FROM identities"
_KEYS: Final = "SELECT fingerprint, identity, last_seen FROM keys ORDER BY fingerprint"


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
        return None if known is None else known.identity


class MachineStore:
    """Reads what is known of identities."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def known(self) -> Known:
        """Everything. Raises StoreUnavailable."""
        return await self._store.run(_known)


def _known(connection: Connection) -> Known:
    machines = {IdentityId(row[0]): Machine(*row[1:]) for row in connection.execute(_IDENTITIES)}
    keys = {Fingerprint(row[0]): KnownKey(IdentityId(row[1]), row[2]) for row in connection.execute(_KEYS)}
    named = {machine.name: identity for identity, machine in machines.items() if machine.name is not None}
    return Known(machines, keys, named)
