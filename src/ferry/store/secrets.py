"""The secrets of this installation and the fingerprints of its host keys. They are made once and never change by
themselves."""

from __future__ import annotations

import secrets as random
from typing import Final

from ferry.names import Fingerprint
from ferry.registry.contract import StoreUnavailable

from .dialect import Connection, only_row
from .engine import Store

SECRET_BYTES: Final = 32
_NEW: Final = "INSERT INTO secrets (name, value) VALUES (:name, :value)"


class SecretStore:
    """Named secrets and remembered host keys."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def secret(self, name: str) -> bytes:
        """The secret called `name`: 32 random bytes, made at its first use. It never changes."""

        def transaction(connection: Connection) -> bytes:
            if row := only_row(connection, "SELECT value FROM secrets WHERE name = :name", {"name": name}):
                found: bytes = row[0]
                return found
            made = random.token_bytes(SECRET_BYTES)
            connection.execute(_NEW, {"name": name, "value": made})
            return made

        try:
            return await self._store.run(transaction)
        except StoreUnavailable as error:
            if not error.readable:
                raise
        found = random.token_bytes(SECRET_BYTES)  # nothing depends on it yet: it is written as soon as possible
        await self._store.first(lambda connection: connection.execute(_NEW, {"name": name, "value": found}).close())
        return found

    async def host_key_fingerprint(self, algorithm: str) -> Fingerprint | None:
        """The fingerprint of the host key that clients know for `algorithm`, if one was ever remembered."""
        query = "SELECT fingerprint FROM host_keys WHERE algorithm = :algorithm"
        row = await self._store.run(lambda connection: only_row(connection, query, {"algorithm": algorithm}))
        return Fingerprint(row[0]) if row else None

    async def remember_host_key(self, algorithm: str, fingerprint: Fingerprint) -> None:
        """Remember this key in place of an older one for `algorithm`. On a full disk it is written as soon as possible."""
        statement = """
            INSERT INTO host_keys (algorithm, fingerprint) VALUES (:algorithm, :fingerprint)
            ON CONFLICT (algorithm) DO UPDATE SET fingerprint = excluded.fingerprint"""
        values = {"algorithm": algorithm, "fingerprint": fingerprint}
        await self._store.first(lambda connection: connection.execute(statement, values).close())

    async def forget_host_key(self, algorithm: str) -> None:
        """Forget the key for `algorithm`. The next start uses the one in the state folder, or makes one."""
        statement = "DELETE FROM host_keys WHERE algorithm = :algorithm"
        await self._store.run(lambda connection: connection.execute(statement, {"algorithm": algorithm}).close())
