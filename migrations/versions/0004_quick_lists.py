"""Coaches newest first by an index; words that were just gathered stand in theirs at once.

A GIN index keeps what is new in a list beside it, which every search goes through. Words are
gathered in the background, where there is time to put them where they belong.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_users_coaches_created_at_id",
        "users",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        postgresql_where=sa.text("role = 'coach'"),
    )
    op.execute("ALTER INDEX ix_session_search_words SET (fastupdate = off)")
    op.execute("SELECT gin_clean_pending_list('ix_session_search_words')")


def downgrade() -> None:
    op.execute("ALTER INDEX ix_session_search_words RESET (fastupdate)")
    op.drop_index("ix_users_coaches_created_at_id", table_name="users")
