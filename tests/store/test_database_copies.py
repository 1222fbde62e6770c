"""Copies of the database: those that cannot be brought back are refused with the reason."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ferry.errors import InvalidInput
from ferry.store.backup import check_copy, copy_database, open_snapshot
from ferry.store.writer import open_sqlite


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    open_sqlite(tmp_path / "ferry.db", 0.1).close()
    with closing(open_snapshot(tmp_path / "ferry.db")) as source:
        copy_database(source, tmp_path / "ferry.db", tmp_path / "copy.db")
    return tmp_path / "copy.db"


def test_a_copy_of_this_version_is_whole(copy: Path) -> None:
    check_copy(copy)


def test_a_copy_whose_pages_contradict_one_another_is_damaged(copy: Path) -> None:
    """The header counts free pages that are not there (sqlite.org/fileformat.html, The Database Header)."""
    content = bytearray(copy.read_bytes())
    content[36:40] = (7).to_bytes(4, "big")
    copy.write_bytes(content)
    with pytest.raises(
        InvalidInput,
        match=r"the backup's database is damaged \(Main freelist: size is 0 but should be 7\): take another backup",
    ):
        check_copy(copy)


def test_a_copy_of_a_newer_version_is_not_taken(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InvalidInput, match=r"made by a newer ferry \(database 9999.*install that version first"):
        check_copy(copy)


def test_a_database_of_another_program_is_none_of_ferry(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("CREATE TABLE moz_places (url)")
    with pytest.raises(InvalidInput, match="the backup's database is none of ferry: take another backup"):
        check_copy(tmp_path / "other.db")
