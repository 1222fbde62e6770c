"""A read-only database: reading shows all rows, and creates no file."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ferry.store.dialect import connect, connect_reading


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Written and closed in good order: there is no log beside it."""
    path = tmp_path / "ferry.db"
    with closing(connect(path, busy_seconds=1)) as database:
        database.execute("CREATE TABLE seen (what)")
        database.execute("INSERT INTO seen VALUES ('old')")
    assert [file.name for file in tmp_path.iterdir()] == ["ferry.db"]
    return path


def seen(path: Path) -> set[str]:
    with closing(connect_reading(path)) as database:
        return {what for (what,) in database.execute("SELECT what FROM seen")}


@pytest.mark.parametrize("log", [False, True])
def test_reading_a_database_without_a_write_ahead_log_creates_no_file(path: Path, *, log: bool) -> None:
    """There may be no room for as much as an index."""
    if log:
        path.with_name("ferry.db-wal").touch()
    before = sorted(path.parent.iterdir())
    with closing(connect_reading(path)) as database:
        assert database.execute("SELECT what FROM seen").fetchall() == [("old",)]
        assert sorted(path.parent.iterdir()) == before


def test_rows_in_the_write_ahead_log_are_read_too(path: Path, tmp_path: Path) -> None:
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    with closing(connect(path, busy_seconds=1)) as database:
        database.execute("INSERT INTO seen VALUES ('new')")
        for name in ("ferry.db", "ferry.db-wal"):
            shutil.copy(tmp_path / name, crashed / name)
    assert seen(crashed / "ferry.db") == {"old", "new"}


def test_a_database_opened_for_reading_is_not_written(path: Path) -> None:
    with closing(connect_reading(path)) as database, pytest.raises(sqlite3.OperationalError, match="readonly"):
        database.execute("INSERT INTO seen VALUES ('new')")
