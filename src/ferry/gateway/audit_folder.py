"""Reads the audit log in a state folder, whether a gateway runs there or not. It writes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ferry import limits
from ferry.errors import FerryError
from ferry.ownership import other_owner, rights_of
from ferry.protocol.audit import Entry, Gaps, Link, Wanted
from ferry.store.audit_rows import all_entries, gaps_of, last_link, start_of, wanted_in
from ferry.store.dialect import Connection, connect_beside

from .kept import DATABASE, database_in


class StoredLog:
    """The audit log of one database, as it is at one moment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def head(self) -> Link:
        """The place of the last record."""
        return last_link(self._connection)

    def start(self) -> Link:
        """The place before the first record."""
        return start_of(self._connection)

    def gaps(self) -> Gaps:
        """The runs of records that were dropped from between others."""
        return gaps_of(self._connection)

    def entries(self) -> Iterator[Entry]:
        """All records in their order."""
        return all_entries(self._connection, piece=limits.AUDIT_PIECE)

    def last(self, wanted: Wanted, most: int) -> list[Entry]:
        """The last `most` records that are wanted, the oldest first."""
        return wanted_in(self._connection, wanted, after=0, upto=self.head().seq, most=most)[::-1]


@contextmanager
def stored_log(state: Path) -> Iterator[StoredLog]:
    """The log in the state folder, with the rights of its owner alone. Raises FerryError."""
    path = state / DATABASE
    try:
        with rights_of(other_owner(state)), closing(connect_beside(database_in(state))) as connection:
            connection.execute("BEGIN")
            yield StoredLog(connection)
    except sqlite3.Error as error:
        fix = ": a gateway of this version makes it at its start" if "no such table" in str(error) else ""
        raise FerryError(f"the audit log in {path} cannot be read: {error}{fix}") from error
    except PermissionError as error:
        raise FerryError(
            f"{path} cannot be read: {error.strerror}: run this with sudo, or as the gateway's user"
        ) from None
