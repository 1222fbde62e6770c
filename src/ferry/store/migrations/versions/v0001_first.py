"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make everything."""
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secrets"),
    )
    op.create_table(
        "host_keys",
        sa.Column("algorithm", sa.Text),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("algorithm", name="pk_host_keys"),
    )
    _identities()
    _registry()
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("client_version", sa.Text, nullable=False),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
        sa.Column("reason", sa.Text),
        sa.Column("up", sa.BigInteger, nullable=False),
        sa.Column("down", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_started", "sessions", ["started"])
    op.create_index("ix_sessions_identity", "sessions", ["identity"])


def _identities() -> None:
    op.create_table(
        "identities",
        sa.Column("id", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identities"),
        sa.UniqueConstraint("name", name="uq_identities_name"),
    )
    op.create_table(
        "keys",
        sa.Column("fingerprint", sa.Text),
        sa.Column("algorithm", sa.Text, nullable=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("first_seen", sa.Double, nullable=False),
        sa.Column("last_seen", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_keys"),
        sa.ForeignKeyConstraint(["identity"], ["identities.id"], name="fk_keys_identity"),
    )
    op.create_index("ix_keys_identity", "keys", ["identity"])


def _registry() -> None:
    op.create_table(
        "reservations",
        sa.Column("address", sa.Text),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("owner_name", sa.Text, nullable=False),
        sa.Column("derived", sa.Boolean, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("last_used", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("address", name="pk_reservations"),
    )
    op.create_index("ix_reservations_owner", "reservations", ["owner"])
    op.create_table(
        "reservations_made",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("network", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reservations_made"),
    )
    op.create_index("ix_reservations_made_network", "reservations_made", ["network", "at"])
    op.create_table(
        "leases",
        sa.Column("address", sa.Text),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("owner_name", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("claimed", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("address", name="pk_leases"),
    )
    op.create_index("ix_leases_owner", "leases", ["owner"])
    op.create_index("ix_leases_worker", "leases", ["worker"])
    op.create_table(
        "workers",
        sa.Column("id", sa.Text),
        sa.Column("heartbeat", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.Text),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.bulk_insert(counters, [{"name": "generation", "value": 0}])
