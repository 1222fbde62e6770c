"""What is made once and must never change by itself: the secrets of this installation, and its host keys' marks."""

from __future__ import annotations

import secrets as random
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from ferry.names import Fingerprint

from .engine import Store
from .tables import host_keys, secrets

SECRET_BYTES: Final = 32


class Secrets:
    """Named secrets and remembered host keys."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def secret(self, name: str) -> bytes:
        """The secret called `name`: 32 random bytes, made at first use and the same ever after."""

        def transaction(connection: Connection) -> bytes:
            found: bytes | None = connection.scalar(select(secrets.c.value).where(secrets.c.name == name))
            if found is None:
                found = random.token_bytes(SECRET_BYTES)
                connection.execute(insert(secrets).values(name=name, value=found))
            return found

        return await self._store.run(transaction)

    async def host_key_fingerprint(self, algorithm: str) -> Fingerprint | None:
        """The fingerprint of the host key that clients know for `algorithm`, if one was ever remembered."""
        query = select(host_keys.c.fingerprint).where(host_keys.c.algorithm == algorithm)
        found: str | None = await self._store.run(lambda connection: connection.scalar(query))
        return None if found is None else Fingerprint(found)

    async def remember_host_key(self, algorithm: str, fingerprint: Fingerprint) -> None:
        """Remember this key, in the place of what was remembered for `algorithm`."""

        def transaction(connection: Connection) -> None:
            known = update(host_keys).where(host_keys.c.algorithm == algorithm).values(fingerprint=fingerprint)
            if connection.execute(known).rowcount == 0:
                connection.execute(insert(host_keys).values(algorithm=algorithm, fingerprint=fingerprint))

        await self._store.run(transaction)

    async def forget_host_key(self, algorithm: str) -> None:
        """Remember no key for `algorithm`: the next start takes, or makes, whichever is there."""
        query = delete(host_keys).where(host_keys.c.algorithm == algorithm)
        await self._store.run(lambda connection: connection.execute(query).close())
