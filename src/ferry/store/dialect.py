"""Everything specific to SQLite, together with `schema.sql`. The queries in the rest of this package run on PostgreSQL
unchanged.

The driver is the standard library's, and so is `Connection`. SQLAlchemy would take 12 MB and 200 ms of every start, and
a gateway with some forty fixed statements does not need it. SQLAlchemy and Alembic run in `ferry.store.migrations`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from ferry import limits

__all__ = ["Connection", "connect", "connect_beside", "connect_reading", "only_row"]


def connect(path: Path, *, busy_seconds: float) -> Connection:
    """Open the file at `path`. Transactions are explicit: the caller executes `BEGIN IMMEDIATE` and `COMMIT`.

    By default the driver begins a transaction only before INSERT, UPDATE and DELETE, so that savepoints and the reads
    before a write race. `isolation_level = None` turns that off. The transactions are IMMEDIATE, because one that reads
    first and writes later could lose the lock in between. Raises sqlite3.Error.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout = {int(busy_seconds * 1000)}")
        connection.execute("PRAGMA journal_mode = WAL")
        # The operating system has the data of a commit, so that a kill of this process loses none. Only a power cut can
        # lose the last commits, and it never breaks the file (sqlite.org/wal.html §2.2 and pragma synchronous).
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {limits.STORE_WAL_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reading(path: Path) -> Connection:
    """Open the file at `path` for reading, when it cannot be opened for writing (a full or read-only disk).

    SQLite reads a write-ahead log through an index in shared memory, a file of 32 KiB that it makes anew at each start.
    Where there is no log, nothing is missing from the main file, and nobody writes to it: it is read as it is
    (`immutable`). Where there is one, the index that a crash has left may be read, or is made in this process's own
    memory (`locking_mode = EXCLUSIVE`, sqlite.org/wal.html §6). Raises sqlite3.Error.
    """
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or log.stat().st_size == 0:
        return _reading(path, "mode=ro&immutable=1")
    try:
        return _reading(path, "mode=ro")
    except sqlite3.Error:
        return _reading(path, "mode=rw", "PRAGMA locking_mode = EXCLUSIVE")


def connect_beside(path: Path) -> Connection:
    """Open the file at `path` for reading, also while a gateway writes to it: then the index of its log is there. Raises
    sqlite3.Error."""
    if path.with_name(f"{path.name}-shm").exists():
        try:
            return _reading(path, "mode=ro")
        except sqlite3.Error:  # left by a crash, of a user who may write it
            pass
    return connect_reading(path)


def _reading(path: Path, options: str, *first: str) -> Connection:
    uri = f"{path.absolute().as_uri()}?{options}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    try:
        for statement in (*first, "SELECT count(*) FROM sqlite_master"):
            connection.execute(statement).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def only_row(connection: Connection, statement: str, values: Mapping[str, object]) -> Any:
    """The only row of the answer, or None. It reads all rows: an unfinished RETURNING would block the commit."""
    rows = connection.execute(statement, values).fetchall()
    return rows[0] if rows else None
