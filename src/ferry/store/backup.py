"""Copies the database while a gateway uses it, and checks a copy (sqlite.org/backup.html)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ferry import limits
from ferry.clock import random_token
from ferry.errors import FerryError, InvalidInput
from ferry.protocol.audit import AuditRecord

from .audit_rows import add
from .migrate import HEAD, revision


def open_snapshot(path: Path) -> sqlite3.Connection:
    """A connection that sees the database at `path` as it is now, also while a gateway writes to it. All files that it
    reads are open. Raises FerryError."""
    try:
        source = _open(path, "rw")
    except sqlite3.Error as error:
        raise _uncopied(path, error) from error
    try:
        source.execute(f"PRAGMA busy_timeout = {int(limits.STORE_BUSY_SECONDS * 1000)}")
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # BEGIN alone reads nothing
    except sqlite3.Error as error:
        source.close()
        raise _uncopied(path, error) from error
    return source


def copy_database(source: sqlite3.Connection, path: Path, copy: Path) -> str:
    """Copy a snapshot of the database at `path` to the new file `copy`. Returns its schema's revision. Raises FerryError."""
    try:
        with closing(sqlite3.connect(copy, isolation_level=None)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, without a write-ahead log beside it
            return revision(target) or ""
    except sqlite3.Error as error:
        raise _uncopied(path, error) from error


def _uncopied(path: Path, error: sqlite3.Error) -> FerryError:
    return FerryError(f"the database {path} cannot be copied: {error}")


def check_copy(copy: Path) -> None:
    """Raise InvalidInput unless `copy` is a whole database that this version can use or migrate."""
    try:
        with closing(_open(copy, "ro")) as database:
            damage = database.execute("PRAGMA quick_check(1)").fetchone()[0].splitlines()[-1]
            found = revision(database)
    except sqlite3.Error as error:
        raise InvalidInput(f"the backup's database cannot be read ({error}): take another backup") from error
    if damage != "ok":
        raise InvalidInput(f"the backup's database is damaged ({damage}): take another backup")
    if found is None:
        raise InvalidInput("the backup's database is none of ferry: take another backup")
    check_revision(found)


def note_restore(copy: Path, record: AuditRecord) -> None:
    """Add a record to the audit log of a copy, if it has one. Raises InvalidInput."""
    try:
        with closing(_open(copy, "rw")) as database:
            if revision(database) == HEAD:
                database.execute("BEGIN IMMEDIATE")
                add(database, [record], installation=random_token(16))
                database.execute("COMMIT")
    except sqlite3.Error as error:
        raise InvalidInput(f"the backup's audit log cannot be written ({error}): take another backup") from error


def check_revision(found: str) -> None:
    """Raise InvalidInput if a newer Ferry wrote a database with this revision."""
    if found > HEAD:
        raise InvalidInput(
            f"the backup was made by a newer ferry (database {found}, this version knows {HEAD}): "
            "install that version first, then restore"
        )


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
