"""The tables of people, sessions and turns. Their words are the project's: see the README.

A `session` is one coaching conversation and never a database handle (`db`). Ids of rows that the
journal makes are UUIDv7 given by the job, so that every write is an idempotent upsert; people are
resolved to ids here and null where unknown, with the raw identity kept beside. The tables that the
installation itself runs on are in `operations`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlmodel import Field

from persistence.events import Completeness, EndReason, Role, Source
from persistence.ids import new_id
from persistence.tables import Table, one_of, timestamp, user_link

SESSION_STATUSES = ("active", "completed", "cancelled")


class User(Table, table=True):
    __tablename__ = "users"
    __table_args__ = (
        one_of("role", ("client", "coach", "admin")),
        Index("ix_users_created_at_id", sql("created_at DESC"), sql("id DESC")),
        Index(
            "ix_users_coaches_created_at_id",
            sql("created_at DESC"),
            sql("id DESC"),
            postgresql_where=sql("role = 'coach'"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    identity: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    email: str | None = Field(default=None, sa_column=Column(Text))
    display_name: str | None = Field(default=None, sa_column=Column(Text))
    role: str = Field(
        default="client", sa_column=Column(Text, nullable=False, server_default=sql("'client'"))
    )
    is_available: bool = Field(default=False, sa_column_kwargs={"server_default": sql("false")})
    coach_level: str | None = Field(default=None, sa_column=Column(Text))
    created_at: datetime | None = Field(default=None, sa_column=timestamp(nullable=False, now=True))
    last_active_at: datetime | None = Field(default=None, sa_column=timestamp())
    data_retention_consent: bool | None = None
    last_data_export_at: datetime | None = Field(default=None, sa_column=timestamp())
    account_deletion_requested_at: datetime | None = Field(default=None, sa_column=timestamp())


class Appointment(Table, table=True):
    __tablename__ = "appointments"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    room_name: str | None = Field(default=None, sa_column=Column(Text, unique=True))
    client_id: UUID | None = Field(default=None, sa_column=user_link())
    coach_id: UUID | None = Field(default=None, sa_column=user_link())
    scheduled_for: datetime | None = Field(default=None, sa_column=timestamp())
    status: str = Field(
        default="scheduled",
        sa_column=Column(Text, nullable=False, server_default=sql("'scheduled'")),
    )


def newest_first(column: str, *, where: str | None = None, include: tuple[str, ...] = ()) -> Index:
    """Return an index for lists of sessions that share a value of `column`, newest first.

    What it is to `include` can be counted and summed by it alone: facts that change but once.
    """
    return Index(
        f"ix_sessions_{column}_started_at_id",
        column,
        sql("started_at DESC"),
        sql("id DESC"),
        postgresql_where=sql(where) if where else None,
        postgresql_include=list(include),
    )


def where_there_is_one(table: str, column: str) -> Index:
    """Return an index of the rows whose `column` is not null: no others are looked for by it."""
    return Index(f"ix_{table}_{column}", column, postgresql_where=sql(f"{column} IS NOT NULL"))


class Session(Table, table=True):
    """One coaching conversation in one room, from the agent's start to its end.

    `reclaimed_at` marks an end that another worker gave provisionally: the journal of the
    session's own worker replaces it as soon as it speaks.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        one_of("status", SESSION_STATUSES),
        one_of("end_reason", EndReason),
        one_of("completeness", Completeness),
        CheckConstraint("(status = 'active') = (ended_at IS NULL)", name="ended"),
        Index("ix_sessions_started_at_id", sql("started_at DESC"), sql("id DESC")),
        Index(
            "ix_sessions_active_worker_id", "worker_id", postgresql_where=sql("status = 'active'")
        ),
        newest_first(
            "user_id", where="user_id IS NOT NULL", include=("status", "duration_seconds")
        ),
        newest_first(
            "coach_id",
            where="coach_id IS NOT NULL",
            include=("status", "duration_seconds", "user_id", "client_identity"),
        ),
        where_there_is_one("sessions", "appointment_id"),
        newest_first("client_identity"),
        newest_first("status", where="status <> 'completed'"),
        newest_first("completeness", where="completeness <> 'complete'"),
        Index(
            "ix_sessions_completed_ended_at",
            "ended_at",
            postgresql_include=["duration_seconds"],
            postgresql_where=sql("status = 'completed'"),
        ),
        Index("ix_sessions_unindexed", "id", postgresql_where=sql("NOT is_indexed")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    status: str = Field(
        default="active", sa_column=Column(Text, nullable=False, server_default=sql("'active'"))
    )
    room_name: str | None = Field(default=None, sa_column=Column(Text, index=True))
    room_sid: str | None = Field(default=None, sa_column=Column(Text))
    job_id: str | None = Field(default=None, sa_column=Column(Text))
    worker_id: UUID | None = None
    client_identity: str | None = Field(default=None, sa_column=Column(Text))
    user_id: UUID | None = Field(default=None, sa_column=user_link(index=False))
    coach_id: UUID | None = Field(default=None, sa_column=user_link(index=False))
    appointment_id: UUID | None = Field(
        default=None,
        sa_column=Column(ForeignKey("appointments.id", ondelete="SET NULL")),
    )
    pipeline: str | None = Field(default=None, sa_column=Column(Text))
    prompt_version: str | None = Field(default=None, sa_column=Column(Text))
    language: str | None = Field(default=None, sa_column=Column(Text))
    scenario_id: str | None = Field(default=None, sa_column=Column(Text))
    started_at: datetime = Field(sa_column=timestamp(nullable=False))
    ended_at: datetime | None = Field(default=None, sa_column=timestamp())
    last_turn_at: datetime | None = Field(default=None, sa_column=timestamp())
    duration_seconds: float | None = None
    legacy_transcript: str | None = Field(default=None, sa_column=Column(Text))
    end_reason: str | None = Field(default=None, sa_column=Column(Text))
    turn_count: int | None = None
    transcript_sha256: str | None = Field(default=None, sa_column=Column(Text))
    completeness: str | None = Field(default=None, sa_column=Column(Text))
    completeness_reason: str | None = Field(default=None, sa_column=Column(Text))
    reclaimed_at: datetime | None = Field(default=None, sa_column=timestamp())
    ai_summary: str | None = Field(default=None, sa_column=Column(Text))
    is_archived: bool = Field(default=False, sa_column_kwargs={"server_default": sql("false")})
    archived_at: datetime | None = Field(default=None, sa_column=timestamp())
    is_indexed: bool = Field(default=False, sa_column_kwargs={"server_default": sql("false")})
    """Whether `session_search` has its words; those of others are looked for in their turns."""


class Turn(Table, table=True):
    """One final utterance of one speaker; read by `started_at`, then `seq`."""

    __tablename__ = "turns"
    __table_args__ = (
        UniqueConstraint("session_id", "item_id"),
        one_of("role", Role),
        one_of("source", Source),
        CheckConstraint("text <> ''", name="text"),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence"),
        Index("ix_turns_session_id_started_at_seq", "session_id", "started_at", "seq"),
        where_there_is_one("turns", "user_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    session_id: UUID = Field(
        sa_column=Column(ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False)
    )
    seq: int
    item_id: str = Field(sa_column=Column(Text, nullable=False))
    role: str = Field(sa_column=Column(Text, nullable=False))
    speaker_identity: str | None = Field(default=None, sa_column=Column(Text))
    user_id: UUID | None = Field(default=None, sa_column=user_link(index=False))
    text: str = Field(sa_column=Column(Text, nullable=False))
    generated_text: str | None = Field(default=None, sa_column=Column(Text))
    interrupted: bool = Field(default=False, sa_column_kwargs={"server_default": sql("false")})
    confidence: float | None = None
    language: str | None = Field(default=None, sa_column=Column(Text))
    started_at: datetime = Field(sa_column=timestamp(nullable=False))
    ended_at: datetime = Field(sa_column=timestamp(nullable=False))
    recorded_at: datetime = Field(sa_column=timestamp(nullable=False))
    source: str = Field(
        default="voice", sa_column=Column(Text, nullable=False, server_default=sql("'voice'"))
    )
    metrics: dict[str, Any] = Field(
        default_factory=dict,
        sa_column=Column(JSONB, nullable=False, server_default=sql("'{}'::jsonb")),
    )


class SessionEvent(Table, table=True):
    """A typed, attributed happening in a session, in order with its turns by `seq`."""

    __tablename__ = "session_events"
    __table_args__ = (Index("ix_session_events_session_id_seq", "session_id", "seq"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    session_id: UUID = Field(
        sa_column=Column(ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False)
    )
    seq: int
    type: str = Field(sa_column=Column(Text, nullable=False))
    role: str | None = Field(default=None, sa_column=Column(Text))
    speaker_identity: str | None = Field(default=None, sa_column=Column(Text))
    at: datetime = Field(sa_column=timestamp(nullable=False))
    data: dict[str, Any] = Field(
        default_factory=dict,
        sa_column=Column(JSONB, nullable=False, server_default=sql("'{}'::jsonb")),
    )


class SessionRating(Table, table=True):
    """What its client thought of a session, said once."""

    __tablename__ = "session_ratings"
    __table_args__ = (CheckConstraint("rating BETWEEN 1 AND 5", name="rating"),)

    session_id: UUID = Field(
        sa_column=Column(ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    )
    rating: int
    comment: str | None = Field(default=None, sa_column=Column(Text))
    user_id: UUID | None = Field(default=None, sa_column=user_link())
    created_at: datetime | None = Field(default=None, sa_column=timestamp(nullable=False, now=True))


class SessionSearch(Table, table=True):
    """The words of an ended session, for full-text search; made again when its turns change."""

    __tablename__ = "session_search"
    __table_args__ = (
        Index(
            "ix_session_search_words",
            "words",
            postgresql_using="gin",
            # else what was gathered last is gone through by every search, up to 4 MiB of it
            postgresql_with={"fastupdate": "off"},
        ),
    )

    session_id: UUID = Field(
        sa_column=Column(ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    )
    words: str = Field(sa_column=Column(TSVECTOR, nullable=False))
