"""The half of the store that runs on the database thread: one connection, and many transactions in one commit."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferry.errors import StartupError
from ferry.registry.contract import StoreUnavailable

from .dialect import Connection, connect, connect_reading
from .migrate import cannot_be_opened, migrate

Transaction = Callable[[Connection], Any]
_OF_THE_STATEMENT = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
_WHERE_NOTHING_CAN_BE_MADE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
)
_TAKES_NO_WRITES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The value that one transaction returned, or the error that it raised."""

    value: Any = None
    error: Exception | None = None


class Writer:
    """Used by one thread at a time. A connection that failed is closed, and the next batch opens a new one. A connection
    that only failed to write stays open, since it still reads. If the file cannot be opened for writing, it is opened for
    reading, and the next batch tries again."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._connection: Connection | None = None
        self._cannot_write = ""
        """Why the connection only reads; empty if it can write."""
        self.wrote = False
        """Whether the last `run` has changed anything. One that only reads succeeds on a full disk too."""

    def run(self, transactions: Sequence[Transaction], *, reading: bool = False) -> list[Outcome]:
        """Run all in order within one commit; one that raises is undone alone. With `reading`, one that writes fails.

        Raises StoreUnavailable, with nothing written, when the database is what failed.
        """
        try:
            connection = self._connected()
            before = connection.total_changes
            connection.execute(f"PRAGMA query_only = {reading:d}")
            connection.execute("BEGIN" if reading or self._cannot_write else "BEGIN IMMEDIATE")
            outcomes = [_one(connection, transaction) for transaction in transactions]
            connection.execute("COMMIT")
        except Exception as error:
            failed = _failure(error, self._cannot_write)
            if not (failed.readable and self._rolled_back()):
                self.close()
            raise failed from error
        self.wrote = connection.total_changes > before
        return outcomes

    def prepare(self) -> None:
        """Connect for the first time and bring the tables up to date. Raises StartupError."""
        try:
            connection = self._connected()
            migrate(connection, self._path, busy_seconds=self._busy_seconds, reading=bool(self._cannot_write))
        except sqlite3.Error as error:
            self.close()
            raise StartupError(cannot_be_opened(self._path, str(error))) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, which undoes a transaction that was not committed. Never raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _rolled_back(self) -> bool:
        """Roll back the open transaction. False if the connection is no longer usable."""
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            return False
        return True

    def _connected(self) -> Connection:
        if self._connection is not None and not self._cannot_write:
            return self._connection
        self.close()
        try:
            self._connection = connect(self._path, busy_seconds=self._busy_seconds)
            self._cannot_write = ""
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF not in _WHERE_NOTHING_CAN_BE_MADE:
                raise
            try:
                self._connection = connect_reading(self._path)
            except sqlite3.Error:
                raise error from None
            self._cannot_write = str(error)
        if not os.access(self._path, os.W_OK):
            self._cannot_write = "its disk is read-only"  # SQLite opens such a file without an error
        return self._connection


def open_sqlite(path: Path, busy_seconds: float) -> Writer:
    """A writer on the file at `path`. It makes the folder (0700) and the file (0600) if they are missing."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would make it by the umask; its -wal and -shm files take their mode from this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno not in _TAKES_NO_WRITES or not path.exists():
            raise StartupError(
                f"the database {path} cannot be opened: {error.strerror}. "
                "Give its folder to the user that runs ferry, or name another one with `state`"
            ) from error
    writer = Writer(path, busy_seconds)
    writer.prepare()
    return writer


def _failure(error: Exception, cannot_write: str) -> StoreUnavailable:
    """The error for callers. A quota or a disk turned read-only fails otherwise than a full disk. `cannot_write`: why the
    connection only reads."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    if cannot_write and code & 0xFF == sqlite3.SQLITE_READONLY:
        return StoreUnavailable(
            f"only reading: {cannot_write}", public="the gateway cannot write to its database", readable=True
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailable(str(error), public="the gateway's disk is full", readable=True)
    if code == sqlite3.SQLITE_IOERR_WRITE or code & 0xFF == sqlite3.SQLITE_READONLY:
        return StoreUnavailable(str(error), public="the gateway cannot write to its database", readable=True)
    return StoreUnavailable(str(error))


def _one(connection: Connection, transaction: Transaction) -> Outcome:
    connection.execute("SAVEPOINT one")
    try:
        value = transaction(connection)
    except Exception as error:
        if isinstance(error, sqlite3.Error) and not isinstance(error, _OF_THE_STATEMENT):
            raise  # disk full, locked, I/O: SQLite may have undone the whole transaction already
        connection.execute("ROLLBACK TO SAVEPOINT one")
        connection.execute("RELEASE SAVEPOINT one")
        return Outcome(error=error)
    connection.execute("RELEASE SAVEPOINT one")
    return Outcome(value)
