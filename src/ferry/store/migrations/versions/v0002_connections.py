"""`sessions` had a row per SSH connection: the table is called `connections`, and where a connection came from `peer`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the new table and move the rows. A renamed one would keep the old names of its constraint and indexes."""
    op.create_table(
        "connections",
        sa.Column("id", sa.Text),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("client_version", sa.Text, nullable=False),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
        sa.Column("reason", sa.Text),
        sa.Column("up", sa.BigInteger, nullable=False),
        sa.Column("down", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_connections"),
    )
    op.execute(
        "INSERT INTO connections"
        " (id, identity, fingerprint, peer, client_version, started, ended, reason, up, down)"
        " SELECT id, identity, fingerprint, address, client_version, started, ended, reason, up, down FROM sessions"
    )
    op.drop_table("sessions")
    op.create_index("ix_connections_started", "connections", ["started"])
    op.create_index("ix_connections_identity", "connections", ["identity"])
