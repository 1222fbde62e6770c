"""A reservation says whether its name was ever used. All that are there count as used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table anew and move the rows: a column that is added would need a default, and would be the last line."""
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
        sa.PrimaryKeyConstraint("address", name="pk_reservations"),
    )
    op.execute(
        "INSERT INTO reservations (address, owner, owner_name, derived, created, last_used, used)"
        " SELECT address, owner, owner_name, derived, created, last_used, TRUE FROM reservations_before"
    )
    op.drop_table("reservations_before")
    op.create_index("ix_reservations_owner", "reservations", ["owner"])
