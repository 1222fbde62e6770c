"""The audit log in a database: all its records, and whether they are whole."""

from __future__ import annotations

from ferry.protocol.audit import Entry, Link, Proof, prove
from ferry.store.audit_rows import all_entries, gaps_of, start_of
from ferry.store.dialect import Connection
from ferry.store.engine import Store

PIECE = 3
"""Records that are read at once, so that a short log has several pieces too."""


async def entries(store: Store) -> list[Entry]:
    return await store.run(lambda connection: list(all_entries(connection, piece=PIECE)))


async def proof(store: Store, anchor: Link | None = None) -> Proof:
    def look(connection: Connection) -> Proof:
        return prove(all_entries(connection, piece=PIECE), start_of(connection), anchor, gaps_of(connection))

    return await store.run(look)
