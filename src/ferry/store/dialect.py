"""Everything that is SQLite's own. Tables and queries elsewhere in this room fit PostgreSQL as they are."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from ferry import limits


def sqlite_engine(path: Path, *, busy_seconds: float) -> Engine:
    """An engine on the file at `path`, whose transactions are SQLite's own.

    The standard library's driver begins a transaction only before INSERT, UPDATE and DELETE, which makes savepoints
    and the reads before a write race. So it is told to keep out (`isolation_level = None`) and BEGIN is written here:
    IMMEDIATE, because a transaction that reads first and writes later could find the lock gone in between.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)), poolclass=NullPool, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {int(busy_seconds * 1000)}")
        connection.execute("PRAGMA journal_mode = WAL")
        # A commit is in the operating system's hands, which a kill of this process cannot take back. Only a power cut
        # can lose the last commits; it never leaves a broken file (sqlite.org/wal.html §2.2 and pragma synchronous).
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {limits.STORE_WAL_BYTES}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
