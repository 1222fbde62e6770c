"""Ports may be allocated for good, keys entered before they log in, and machines may say how they are called."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the three tables anew and move their rows: SQLite cannot let a column be empty later, and a column that is added
    would be the last line."""
    _reservations()
    op.drop_index("ix_keys_identity", "keys")
    op.rename_table("keys", "keys_before")
    op.rename_table("identities", "identities_before")
    op.create_table(
        "identities",
        sa.Column("id", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("host", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_identities"),
        sa.UniqueConstraint("name", name="uq_identities_name"),
    )
    op.create_table(
        "keys",
        sa.Column("fingerprint", sa.Text),
        sa.Column("algorithm", sa.Text, nullable=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("first_seen", sa.Double),
        sa.Column("last_seen", sa.Double),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_keys"),
        sa.ForeignKeyConstraint(["identity"], ["identities.id"], name="fk_keys_identity"),
    )
    op.execute("INSERT INTO identities (id, name, created) SELECT id, name, created FROM identities_before")
    op.execute(
        "INSERT INTO keys (fingerprint, algorithm, identity, first_seen, last_seen)"
        " SELECT fingerprint, algorithm, identity, first_seen, last_seen FROM keys_before"
    )
    op.drop_table("keys_before")
    op.drop_table("identities_before")
    op.create_index("ix_keys_identity", "keys", ["identity"])


def _reservations() -> None:
    op.drop_index("ix_reservations_owner", "reservations")
    op.rename_table("reservations", "reservations_before")
    op.create_table(
        "reservations",
        sa.Column("address", sa.Text),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("owner_name", sa.Text, nullable=False),
        sa.Column("derived", sa.Boolean, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("last_used", sa.Double, nullable=False),
        sa.Column("used", sa.Boolean, nullable=False),
        sa.Column("label", sa.Text),
        sa.PrimaryKeyConstraint("address", name="pk_reservations"),
    )
    op.execute(
        "INSERT INTO reservations (address, owner, owner_name, derived, created, last_used, used)"
        " SELECT address, owner, owner_name, derived, created, last_used, used FROM reservations_before"
    )
    op.drop_table("reservations_before")
    op.create_index("ix_reservations_owner", "reservations", ["owner"])
