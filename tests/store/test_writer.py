"""The kinds of failing databases: one that cannot be written is read on, any other is opened anew."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection

import pytest

from ferry.errors import StartupError
from ferry.registry.contract import StoreUnavailable
from ferry.store import writer as writing
from ferry.store.writer import Outcome, Writer, open_sqlite

FULL, CANNOT_WRITE = "the gateway's disk is full", "the gateway cannot write to its database"
UNREACHABLE = "the gateway cannot reach its database"
BUSY_SECONDS = 0.01


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    opened = open_sqlite(path, BUSY_SECONDS)
    yield opened
    opened.close()


@pytest.fixture
def locked(writer: Writer, path: Path) -> Iterator[None]:
    """Somebody else writes: no transaction that may write can begin."""
    del writer  # has made the file
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def error_of(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = code
    return error


def failing(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error_of(code)

    return fail


def put(connection: Connection) -> None:
    connection.execute("INSERT INTO secrets VALUES ('x', X'')")


def count(connection: Connection) -> int:
    found: int = connection.execute("SELECT count(*) FROM secrets").fetchone()[0]
    return found


def mark(connection: Connection) -> None:
    """What this connection alone has."""
    connection.execute("CREATE TEMP TABLE mark (x)")


def marked(connection: Connection) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_temp_master").fetchall())


@pytest.mark.parametrize(
    ("code", "public", "readable"),
    [
        (sqlite3.SQLITE_FULL, FULL, True),
        (sqlite3.SQLITE_IOERR_WRITE, CANNOT_WRITE, True),
        (sqlite3.SQLITE_READONLY, CANNOT_WRITE, True),
        (sqlite3.SQLITE_READONLY_DBMOVED, CANNOT_WRITE, True),
        (sqlite3.SQLITE_IOERR_READ, UNREACHABLE, False),
        (sqlite3.SQLITE_CORRUPT, UNREACHABLE, False),
    ],
)
def test_a_failure_undoes_all_and_keeps_its_cause(writer: Writer, *, code: int, public: str, readable: bool) -> None:
    """Where it can still be read the connection stays, with what only it has; else the next batch has another."""
    writer.run([mark])
    with pytest.raises(StoreUnavailable, match=r"^it failed$") as caught:
        writer.run([put, failing(code)])
    assert (caught.value.public, caught.value.readable) == (public, readable)
    assert writer.run([count, marked]) == [Outcome(0), Outcome(readable)]
    assert not writer.wrote


def test_a_failure_that_has_undone_everything_by_itself_leaves_the_connection_in_place(writer: Writer) -> None:
    """As SQLite does on some full disks."""

    def fail(connection: Connection) -> None:
        connection.execute("ROLLBACK")
        raise error_of(sqlite3.SQLITE_FULL)

    writer.run([mark])
    with pytest.raises(StoreUnavailable):
        writer.run([put, fail])
    assert writer.run([count, marked]) == [Outcome(0), Outcome(True)]


def test_a_connection_that_cannot_even_undo_is_made_anew(writer: Writer) -> None:
    def fail(connection: Connection) -> None:
        connection.close()
        raise error_of(sqlite3.SQLITE_FULL)

    with pytest.raises(StoreUnavailable):
        writer.run([fail])
    assert writer.run([put, count]) == [Outcome(None), Outcome(1)]


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_READONLY_DIRECTORY,
        sqlite3.SQLITE_CANTOPEN,
    ],
)
def test_a_database_that_cannot_be_written_is_read_until_it_can(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    open_sqlite(path, BUSY_SECONDS).close()
    with monkeypatch.context() as patch:
        patch.setattr(writing, "connect", failing(code))
        writer = open_sqlite(path, BUSY_SECONDS)
        assert writer.run([count]) == [Outcome(0)]
        with pytest.raises(StoreUnavailable, match=r"^it failed$") as caught:
            writer.run([failing(sqlite3.SQLITE_CORRUPT)])
        assert (caught.value.public, caught.value.readable) == (UNREACHABLE, False)
        with pytest.raises(StoreUnavailable, match=r"^only reading: it failed$") as caught:
            writer.run([put])
        assert (caught.value.public, caught.value.readable) == (CANNOT_WRITE, True)
    writer.run([put])
    assert writer.wrote
    assert writer.run([count]) == [Outcome(1)]
    writer.close()


@pytest.mark.parametrize(("code", "read_too"), [(sqlite3.SQLITE_NOTADB, True), (sqlite3.SQLITE_FULL, False)])
def test_a_database_that_cannot_be_opened_is_unavailable_with_the_reason(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, code: int, read_too: bool
) -> None:
    """A full disk is no reason to read what is no database; and one that cannot be read either says that it is full."""
    open_sqlite(path, BUSY_SECONDS).close()
    monkeypatch.setattr(writing, "connect", failing(code))
    if not read_too:
        monkeypatch.setattr(writing, "connect_reading", failing(sqlite3.SQLITE_CANTOPEN))
    writer = Writer(path, BUSY_SECONDS)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"^it failed$") as caught:
            writer.run([count])
        assert caught.value.public == (FULL if code == sqlite3.SQLITE_FULL else UNREACHABLE)
    with pytest.raises(StartupError, match="cannot be opened"):
        open_sqlite(path, BUSY_SECONDS)


@pytest.mark.usefixtures("locked")
def test_reads_do_not_wait_for_writes(writer: Writer) -> None:
    assert writer.run([count], reading=True) == [Outcome(0)]
    with pytest.raises(StoreUnavailable, match="locked"):
        writer.run([count])
    assert writer.run([count], reading=True) == [Outcome(0)]


@pytest.mark.usefixtures("locked")
def test_a_file_on_a_read_only_disk_is_read_although_sqlite_opens_it_for_writing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    writer = open_sqlite(path, BUSY_SECONDS)
    assert writer.run([count]) == [Outcome(0)]
    writer.close()


def test_a_read_only_transaction_may_not_write(writer: Writer) -> None:
    with pytest.raises(StoreUnavailable, match="readonly"):
        writer.run([put], reading=True)
    assert writer.run([put, count]) == [Outcome(None), Outcome(1)]


@pytest.mark.parametrize(
    ("number", "there", "opens"),
    [
        (errno.ENOSPC, True, True),
        (errno.EROFS, True, True),
        (errno.EDQUOT, True, True),
        (errno.ENOSPC, False, False),
        (errno.EACCES, True, False),
    ],
)
def test_a_file_that_is_there_is_opened_where_none_can_be_made(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, number: int, there: bool, opens: bool
) -> None:
    if there:
        open_sqlite(path, BUSY_SECONDS).close()

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    if opens:
        open_sqlite(path, BUSY_SECONDS).close()
    else:
        with pytest.raises(StartupError, match=rf"{os.strerror(number)}.*name another one with `state`"):
            open_sqlite(path, BUSY_SECONDS)
        assert path.exists() is there
