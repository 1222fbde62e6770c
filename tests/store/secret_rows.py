"""Rows of the table of secrets, for tests of the engine below it."""

from __future__ import annotations

from sqlite3 import Connection


def put(connection: Connection, name: str, size: int = 0) -> None:
    """Add a row with a value of `size` bytes."""
    connection.execute("INSERT INTO secrets VALUES (?, zeroblob(?))", (name, size))


def names(connection: Connection) -> set[str]:
    """The names of all rows."""
    return {name for (name,) in connection.execute("SELECT name FROM secrets")}
