"""A new database has the tables of the migrations. A process of its own migrates an older one."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

import ferry.store.migrations
from ferry.errors import StartupError
from ferry.report import no_report
from ferry.store.dialect import connect
from ferry.store.engine import Store
from ferry.store.migrate import HEAD, cannot_be_opened, migrate, revision
from ferry.store.migrations.__main__ import upgrade

MIGRATIONS = Path(ferry.store.migrations.__file__).parent


def content(path: Path) -> set[tuple[object, ...]]:
    """Every table and index as it was declared, and the rows that a new database has."""
    with closing(sqlite3.connect(path)) as database:
        declared = database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        found: set[tuple[object, ...]] = {(name, re.sub(r"\s+|--[^\n]*\n", "", sql)) for name, sql in declared}
        for name, sql in declared:
            if sql.startswith("CREATE TABLE"):
                found |= {(name, *row) for row in database.execute(f"SELECT * FROM {name}")}
    return found


def older(path: Path) -> Path:
    """A database from before the first migration, as Alembic leaves it: what has to be migrated."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    return path


async def test_the_schema_is_what_migrations_make(tmp_path: Path) -> None:
    for path in (tmp_path / "new.db", older(tmp_path / "migrated.db")):
        async with await Store.open(path, report=no_report) as store:
            assert await store.run(revision) == HEAD
    assert content(tmp_path / "new.db") == content(tmp_path / "migrated.db")
    assert ("counters", "generation", 0) in content(tmp_path / "new.db")


def test_the_head_constant_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ferry.db"
    async with await Store.open(path, report=no_report):
        pass
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    before = content(path)
    with pytest.raises(StartupError, match=r"newer ferry \(revision 9999.*start that version"):
        await Store.open(path, report=no_report)
    assert content(path) == before


@pytest.mark.parametrize(
    ("found", "says"),
    [("0001", r"written by an older ferry .* make its disk writable"), ("9999", "written by a newer ferry")],
)
def test_where_nothing_can_be_written_only_tables_of_this_version_are_read(
    tmp_path: Path, found: str, says: str
) -> None:
    path = tmp_path / "ferry.db"
    with closing(connect(path, busy_seconds=1)) as database:
        migrate(database, path, busy_seconds=1)
        database.execute("UPDATE alembic_version SET version_num = ?", (found,))
        with pytest.raises(StartupError, match=says):
            migrate(database, path, busy_seconds=1, reading=True)
        database.execute("UPDATE alembic_version SET version_num = ?", (HEAD,))
        migrate(database, path, busy_seconds=1, reading=True)


@pytest.mark.parametrize(
    ("free", "says"),
    [
        (65535, r"for its disk is full: make room.*\(it failed\)"),
        (65536, "it failed. If another ferry uses it, stop that one"),
    ],
)
def test_a_file_on_a_disk_without_room_is_said_to_be_on_a_full_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, says: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert re.search(says, cannot_be_opened(tmp_path / "ferry.db", "it failed"))


async def test_a_file_with_other_tables_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ferry.db"
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE connections (id TEXT)")  # made last of all by the schema
    before = content(path)
    with pytest.raises(StartupError, match=r"connections already exists.*bring a backup back"):
        await Store.open(path, report=no_report)
    assert content(path) == before


@pytest.mark.parametrize("table", ["sessions", "connections"])  # made last by the first and the second
async def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path, table: str) -> None:
    path = older(tmp_path / "ferry.db")
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(f"CREATE TABLE {table} (id TEXT)")
    before = content(path)
    with pytest.raises(StartupError, match=rf"cannot be opened: table {table} already exists\. If another ferry"):
        await Store.open(path, report=no_report)
    assert content(path) == before


async def test_a_migrating_process_that_dies_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = older(tmp_path / "ferry.db")
    before = content(path)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(StartupError, match=r"could not be migrated, and is as it was: the process ended with 1"):
        await Store.open(path, report=no_report)
    assert content(path) == before


async def test_several_databases_may_be_migrated_at_once(tmp_path: Path) -> None:
    paths = [older(tmp_path / f"{n}.db") for n in range(3)]
    stores = await asyncio.gather(*(Store.open(path, report=no_report) for path in paths))
    for store in stores:
        assert await store.run(revision) == HEAD
        await store.close()


async def test_a_database_that_another_process_has_migrated_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ferry.db"
    async with await Store.open(path, report=no_report):
        pass
    before = content(path)
    upgrade(path, busy_seconds=5)
    assert content(path) == before


async def test_a_folder_where_the_gateway_was_started_is_not_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alembic.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    async with await Store.open(older(tmp_path / "ferry.db"), report=no_report) as store:
        assert await store.run(revision) == HEAD
