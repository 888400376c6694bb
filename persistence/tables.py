"""What the tables have in common: how constraints are named, ids, times, links."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, MetaData, func
from sqlmodel import SQLModel

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
SQLModel.metadata = MetaData(naming_convention=NAMING)


def one_of(column: str, values: Any) -> CheckConstraint:
    """Return a check that `column` holds one of `values`; its name is the column's."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def timestamp(*, nullable: bool = True, now: bool = False, index: bool = False) -> Column[datetime]:
    """Return a `timestamptz` column; `now` gives it the transaction's time by default."""
    return Column(
        DateTime(timezone=True),
        nullable=nullable,
        index=index,
        server_default=func.now() if now else None,
    )


def user_link(*, index: bool = True) -> Column[UUID]:
    """Return a link to a user that becomes null when the user goes."""
    return Column(ForeignKey("users.id", ondelete="SET NULL"), nullable=True, index=index)


class Table(SQLModel):
    """What every table has in common: ids that sort by time."""

    __table_args__: ClassVar[Any] = ()
