"""Brings a database to the tables this code knows, before anything else uses it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from ferry.errors import StartupError

HEAD: Final = "0001"
"""The newest migration. A database that is there already starts without Alembic, whose import costs 300 ms."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"

_ONE_AT_A_TIME: Final = threading.Lock()  # `alembic.op` is a global of its own, whichever thread runs it


def migrate(connection: Connection, what: Path) -> None:
    """Apply what is missing, inside the caller's transaction. `what` names the database in errors.

    Raises StartupError for a database that a newer Ferry wrote: its rows may mean what this code does not know.
    """
    current = revision(connection)
    if current == HEAD:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise StartupError(
            f"the database {what} was written by a newer ferry (revision {current}, this one knows up to {HEAD}): "
            "start that version, or restore the backup that was made before the upgrade"
        )
    with _ONE_AT_A_TIME:
        command.upgrade(config, "head")


def revision(connection: Connection) -> str | None:
    """The last migration that was applied, or None for a new database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found
