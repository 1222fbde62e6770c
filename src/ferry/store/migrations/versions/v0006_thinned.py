"""The audit log may be thinned: a run of records is dropped from between others, once a record says so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let the trigger know the records of thinning, each by its index."""
    op.drop_index("ix_audit_upto", "audit")
    op.create_index("ix_audit_pruned", "audit", ["upto"], sqlite_where=sa.text("kind = 'prune'"))
    op.create_index("ix_audit_thinned", "audit", ["upto"], sqlite_where=sa.text("kind = 'thin'"))
    op.execute("DROP TRIGGER audit_is_not_deleted")
    op.execute(
        "CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit"
        " WHEN old.seq > (SELECT coalesce(max(upto), 0) FROM audit WHERE kind = 'prune')"
        " AND NOT EXISTS (SELECT 1 FROM audit WHERE kind = 'thin' AND upto >= old.seq AND upto - events < old.seq)"
        " BEGIN SELECT RAISE(ABORT, 'a record of the audit log is dropped only after a record says so'); END"
    )
