"""Migrates a database to the tables of this version, before anything else uses it.

A new database is made from `schema.sql`. An older one is migrated by Alembic in a process of its own
(`ferry.store.migrations`): with SQLAlchemy it takes 25 MB, which the gateway would keep for as long as it runs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from ferry.errors import StartupError

from .dialect import Connection

HEAD: Final = "0007"
"""The newest migration, which `schema.sql` equals."""

SCHEMA: Final = Path(__file__).with_name("schema.sql")
_ROOM_BYTES: Final = 64 * 1024  # the index of the write-ahead log takes 32 KiB at each start
EXIT_REFUSED: Final = 3
"""The exit code of a migrating process that cannot migrate and has printed the reason for the operator."""


def migrate(connection: Connection, path: Path, *, busy_seconds: float, reading: bool = False) -> None:
    """Make or migrate the tables of the file at `path`, on which `connection` is open: all of them or none.

    If the tables are up to date it writes nothing, and `reading` is enough. Raises sqlite3.Error, and StartupError, for
    example if a newer Ferry wrote the database.
    """
    connection.execute("BEGIN" if reading else "BEGIN IMMEDIATE")
    current = revision(connection)
    if current is None:
        for statement in SCHEMA.read_text().split(";\n"):
            connection.execute(statement)
        connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD,))
    connection.execute("COMMIT")
    if current in (None, HEAD):
        return
    if reading and current < HEAD:
        raise StartupError(
            f"the database {path} was written by an older ferry and has to be changed for this one, but nothing can "
            "be written there: make its disk writable, with some room, and start again"
        )
    _upgrade(path, busy_seconds)


def revision(connection: Connection) -> str | None:
    """The last migration that was applied, "" for none of them, or None for a new database."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchall():
        return None
    rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return str(rows[0][0]) if rows else ""


def cannot_be_opened(path: Path, reason: str) -> str:
    """The error for the operator. SQLite reports a full disk in several ways, depending on the file that it cannot grow."""
    if shutil.disk_usage(path.parent).free < _ROOM_BYTES:
        return f"the database {path} cannot be opened, for its disk is full: make room, and start again ({reason})"
    return (
        f"the database {path} cannot be opened: {reason}. If another ferry uses it, stop that one; "
        "if the file is damaged, bring a backup back (`ferry restore FILE --force`), or move it away to start without "
        "reservations"
    )


def _upgrade(path: Path, busy_seconds: float) -> None:
    # -P: a folder called `alembic` where the gateway was started is not to be imported.
    command = [sys.executable, "-P", "-m", "ferry.store.migrations", str(path), str(busy_seconds)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == EXIT_REFUSED:
        raise StartupError(done.stdout.strip())
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"])[-1]
        raise StartupError(f"the database {path} could not be migrated, and is as it was: {last}")
