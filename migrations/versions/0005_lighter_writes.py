"""Indexes of users, coaches and appointments hold those rows alone that have such a one.

A row costs each index that it is in at every write that moves it, and most sessions are in none of
these: of nobody that is known, of no appointment.

All new indexes are built before the first old one goes, with their table locked for writes:
shippers wait, and what is said is on disk meanwhile. Readers wait only from there on to the end of
the transaction: for names to change.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


class Lighter(NamedTuple):
    table: str
    column: str
    newest_first: bool
    include: list[str]
    where: str

    @property
    def name(self) -> str:
        return f"ix_{self.table}_{self.column}{'_started_at_id' if self.newest_first else ''}"


INDEXES = (
    Lighter("sessions", "user_id", True, ["status", "duration_seconds"], "user_id IS NOT NULL"),
    Lighter(
        "sessions",
        "coach_id",
        True,
        ["status", "duration_seconds", "user_id", "client_identity"],
        "coach_id IS NOT NULL",
    ),
    Lighter("sessions", "appointment_id", False, [], "appointment_id IS NOT NULL"),
    Lighter("turns", "user_id", False, [], "user_id IS NOT NULL"),
)


def upgrade() -> None:
    for index in INDEXES:
        _build(index, index.where)
    _take_their_names()


def downgrade() -> None:
    for index in INDEXES:
        _build(index, None)
    _take_their_names()


def _build(index: Lighter, where: str | None) -> None:
    order = ["started_at DESC", "id DESC"] if index.newest_first else []
    options: dict[str, Any] = {"postgresql_include": index.include} if index.include else {}
    if where:
        options["postgresql_where"] = sa.text(where)
    columns = [index.column, *map(sa.literal_column, order)]
    op.create_index(f"{index.name}_new", index.table, columns, **options)


def _take_their_names() -> None:
    """Put the indexes that were built in the place of those that were there."""
    for index in INDEXES:
        op.drop_index(index.name, table_name=index.table)
        op.execute(f"ALTER INDEX {index.name}_new RENAME TO {index.name}")
