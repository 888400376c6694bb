"""What people's sessions come to, from an index alone; people, newest first.

The new indexes are built before the old ones go, with their table locked for writes: shippers wait,
and what is said is on disk meanwhile.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TOTALS = {
    "user_id": ["status", "duration_seconds"],
    "coach_id": ["status", "duration_seconds", "user_id", "client_identity"],
}


def upgrade() -> None:
    for column, include in TOTALS.items():
        _replace(column, include)
    op.create_index(
        "ix_users_created_at_id",
        "users",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
    )


def downgrade() -> None:
    op.drop_index("ix_users_created_at_id", table_name="users")
    for column in TOTALS:
        _replace(column, [])


def _replace(column: str, include: list[str]) -> None:
    name = f"ix_sessions_{column}_started_at_id"
    op.create_index(
        "ix_sessions_new",
        "sessions",
        [column, sa.literal_column("started_at DESC"), sa.literal_column("id DESC")],
        **({"postgresql_include": include} if include else {}),
    )
    op.drop_index(name, table_name="sessions")
    op.execute(f"ALTER INDEX ix_sessions_new RENAME TO {name}")
