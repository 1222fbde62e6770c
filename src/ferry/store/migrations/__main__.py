"""`python -m ferry.store.migrations FILE SECONDS`: bring the database in FILE to the newest tables, all or nothing.

Waits up to SECONDS for another process's lock. Exits with 0, or with 3 after printing why it cannot be done.
"""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ferry.errors import StartupError
from ferry.store.dialect import connect
from ferry.store.migrate import EXIT_REFUSED, HEAD, cannot_be_opened


def upgrade(path: Path, *, busy_seconds: float) -> None:
    """Apply the migrations that are missing, in one transaction. Raises StartupError, SQLAlchemyError."""
    engine = create_engine("sqlite://", creator=lambda: connect(path, busy_seconds=busy_seconds), poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        current = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if current is not None and current not in known:
            raise StartupError(
                f"the database {path} was written by a newer ferry (revision {current}, this one knows up to {HEAD}): "
                "start that version, or restore the backup that was made before the upgrade"
            )
        command.upgrade(config, "head")


def main() -> int:
    """Run it for the gateway."""
    path, busy_seconds = Path(sys.argv[1]), float(sys.argv[2])
    try:
        upgrade(path, busy_seconds=busy_seconds)
    except StartupError as error:
        print(error)
    except SQLAlchemyError as error:
        print(cannot_be_opened(path, str(error.orig) if isinstance(error, DBAPIError) else str(error)))
    else:
        return 0
    return EXIT_REFUSED


if __name__ == "__main__":
    sys.exit(main())
