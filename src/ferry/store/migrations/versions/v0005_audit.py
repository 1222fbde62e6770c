"""The audit log: a table to which records are only added."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and the triggers that keep its records as they are."""
    texts = ("time", "kind", "outcome", "identity", "key", "peer", "connection", "what", "rule", "detail")
    numbers = ("up", "down", "milliseconds", "events", "upto")
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        *(sa.Column(name, sa.BigInteger) for name in numbers),
        sa.Column("hash", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    op.create_index("ix_audit_upto", "audit", ["upto"], sqlite_where=sa.text("upto IS NOT NULL"))
    op.execute(
        "CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit"
        " BEGIN SELECT RAISE(ABORT, 'records of the audit log are never changed'); END"
    )
    op.execute(
        "CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit"
        " WHEN old.seq > (SELECT coalesce(max(upto), 0) FROM audit WHERE upto IS NOT NULL)"
        " BEGIN SELECT RAISE(ABORT, 'a record of the audit log is dropped only after a record says so'); END"
    )
    op.execute(
        "CREATE TRIGGER audit_is_only_added_to BEFORE INSERT ON audit"
        " WHEN new.seq <= (SELECT coalesce(max(seq), 0) FROM audit)"
        " BEGIN SELECT RAISE(ABORT, 'records of the audit log are added at its end'); END"
    )
