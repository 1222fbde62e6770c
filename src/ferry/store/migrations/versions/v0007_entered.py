"""A key keeps a name that its line does not say only if the operator has entered it for that name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table anew and move its rows: a column that is added would need a default, and would be the last line. Who
    was entered was not written before: the keys of names count as entered until a line says their name."""
    op.drop_index("ix_keys_identity", "keys")
    op.rename_table("keys", "keys_before")
    op.create_table(
        "keys",
        sa.Column("fingerprint", sa.Text),
        sa.Column("algorithm", sa.Text, nullable=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("first_seen", sa.Double),
        sa.Column("last_seen", sa.Double),
        sa.Column("entered", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_keys"),
        sa.ForeignKeyConstraint(["identity"], ["identities.id"], name="fk_keys_identity"),
    )
    op.execute(
        "INSERT INTO keys (fingerprint, algorithm, identity, first_seen, last_seen, entered)"
        " SELECT fingerprint, algorithm, identity, first_seen, last_seen,"
        " identity IN (SELECT id FROM identities WHERE name IS NOT NULL) FROM keys_before"
    )
    op.drop_table("keys_before")
    op.create_index("ix_keys_identity", "keys", ["identity"])
