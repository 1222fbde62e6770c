"""Run by Alembic: `__main__` hands in the connection, already inside a transaction."""

from __future__ import annotations

from alembic import context

# SQLite undoes DDL with its transaction as PostgreSQL does; Alembic assumes otherwise. With this, a process killed in
# the middle of a migration leaves the database as it was.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
