"""The half of the store that lives on the database thread: one connection, and many transactions in one commit."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError

from ferry.errors import StartupError
from ferry.registry.contract import StoreUnavailable

from .dialect import sqlite_engine
from .migrate import migrate

Transaction = Callable[[Connection], Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one transaction returned, or what it raised."""

    value: Any = None
    error: Exception | None = None


class Writer:
    """Used by one thread at a time. A connection that failed is thrown away and made anew at the next batch."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def run(self, transactions: Sequence[Transaction]) -> list[Outcome]:
        """Run all in order within one commit; one that raises is undone alone.

        Raises StoreUnavailable, with nothing written, when the database is what failed.
        """
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                return [_one(self._connection, transaction) for transaction in transactions]
        except Exception as error:
            self.close()
            raise StoreUnavailable(_words(error)) from error

    def prepare(self, path: Path) -> None:
        """Connect for the first time and bring the tables up to date. Raises StartupError."""
        try:
            self._connection = self._engine.connect()
            with self._connection.begin():
                migrate(self._connection, path)
        except SQLAlchemyError as error:
            self.close()
            raise StartupError(
                f"the database {path} cannot be opened: {_words(error)}. If another ferry uses it, stop that one; "
                "if the file is damaged, put a backup in its place, or move it away to start without reservations"
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the connection back to the system. Never raises."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except SQLAlchemyError:
            connection.invalidate()


def open_sqlite(path: Path, busy_seconds: float) -> Writer:
    """A writer on the file at `path`; its folder is made if missing (0700), and so is the file (0600)."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would make it by the umask; its -wal and -shm files take their mode from this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StartupError(
            f"the database {path} cannot be opened: {error.strerror}. "
            "Give its folder to the user that runs ferry, or name another one with `state`"
        ) from error
    writer = Writer(sqlite_engine(path, busy_seconds=busy_seconds))
    writer.prepare(path)
    return writer


def _one(connection: Connection, transaction: Transaction) -> Outcome:
    connection.exec_driver_sql("SAVEPOINT one")
    try:
        value = transaction(connection)
    except Exception as error:
        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError | DataError | ProgrammingError):
            raise  # disk full, locked, I/O: SQLite may have undone the whole transaction already
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT one")
        connection.exec_driver_sql("RELEASE SAVEPOINT one")
        return Outcome(error=error)
    connection.exec_driver_sql("RELEASE SAVEPOINT one")
    return Outcome(value)


def _words(error: Exception) -> str:
    """What the database itself said, without the statement, which may hold a secret."""
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)
