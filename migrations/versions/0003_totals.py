"""What people's sessions come to, from an index alone; people, newest first.

All new indexes are built before the first old one goes, with their table locked for writes:
shippers wait, and what is said is on disk meanwhile. Readers wait only from there on to the end of
the transaction: for names to change.
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
        _build(column, include)
    op.create_index(
        "ix_users_created_at_id",
        "users",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
    )
    _take_their_names()


def downgrade() -> None:
    for column in TOTALS:
        _build(column, [])
    op.drop_index("ix_users_created_at_id", table_name="users")
    _take_their_names()


def _build(column: str, include: list[str]) -> None:
    op.create_index(
        f"ix_sessions_new_{column}",
        "sessions",
        [column, sa.literal_column("started_at DESC"), sa.literal_column("id DESC")],
        **({"postgresql_include": include} if include else {}),
    )


def _take_their_names() -> None:
    """Put the indexes that were built in the place of those that were there."""
    for column in TOTALS:
        name = f"ix_sessions_{column}_started_at_id"
        op.drop_index(name, table_name="sessions")
        op.execute(f"ALTER INDEX ix_sessions_new_{column} RENAME TO {name}")
