"""Migrations make the tables that the code uses, once."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from ferry.errors import StartupError
from ferry.report import nothing
from ferry.store.engine import Store
from ferry.store.migrate import HEAD, MIGRATIONS, revision
from ferry.store.tables import metadata


async def test_migrations_make_exactly_the_tables_of_the_code(tmp_path: Path) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))

    async with await Store.open(tmp_path / "ferry.db", report=nothing) as store:
        assert await store.run(differences) == []
        assert await store.run(revision) == HEAD


def test_the_head_constant_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ferry.db"
    async with await Store.open(path, report=nothing):
        pass
    with sqlite3.connect(path) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    other.close()
    with pytest.raises(StartupError, match=r"newer ferry \(revision 9999.*start that version"):
        await Store.open(path, report=nothing)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    other.close()


async def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "ferry.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE sessions (id TEXT)")  # made last of all by the first migration
    other.close()
    with pytest.raises(StartupError, match="sessions already exists"):
        await Store.open(path, report=nothing)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("sessions",)]
    other.close()


async def test_several_databases_may_be_opened_at_once(tmp_path: Path) -> None:
    stores = await asyncio.gather(*(Store.open(tmp_path / f"{n}" / "ferry.db", report=nothing) for n in range(4)))
    for store in stores:
        assert await store.run(revision) == HEAD
        await store.close()


async def test_a_second_start_does_not_import_alembic(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from ferry.report import nothing;"
        "from ferry.store.engine import Store\n"
        "async def main():\n"
        "    async with await Store.open(Path(sys.argv[1]), report=nothing): pass\n"
        "asyncio.run(main()); print('alembic' in sys.modules)"
    )

    async def start() -> str:
        arguments = [sys.executable, "-c", code, str(tmp_path / "ferry.db")]
        return (await asyncio.to_thread(subprocess.check_output, arguments, text=True)).strip()

    assert await start() == "True"
    assert await start() == "False"
