"""The tables. Their words are the project's: see the README's glossary.

A `session` is one coaching conversation and never a database handle (`db`). Ids of rows that the
journal makes are UUIDv7 given by the job, so that every write is an idempotent upsert; people are
resolved to ids here and null where unknown, with the raw identity kept beside.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from persistence.events import Completeness, EndReason, Role, Source
from persistence.ids import new_id

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
SQLModel.metadata = MetaData(naming_convention=NAMING)

SESSION_STATUSES = ("active", "completed", "cancelled")
SCOPES = ("admin", "coach", "client", "internal")


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


class User(Table, table=True):
    __tablename__ = "users"
    __table_args__ = (one_of("role", ("client", "coach", "admin")),)

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
    user_id: UUID | None = Field(default=None, sa_column=user_link())
    coach_id: UUID | None = Field(default=None, sa_column=user_link())
    appointment_id: UUID | None = Field(
        default=None,
        sa_column=Column(ForeignKey("appointments.id", ondelete="SET NULL"), index=True),
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
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    session_id: UUID = Field(
        sa_column=Column(ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False)
    )
    seq: int
    item_id: str = Field(sa_column=Column(Text, nullable=False))
    role: str = Field(sa_column=Column(Text, nullable=False))
    speaker_identity: str | None = Field(default=None, sa_column=Column(Text))
    user_id: UUID | None = Field(default=None, sa_column=user_link())
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


class WorkerLease(Table, table=True):
    """Who is alive: renewed by its worker, on Postgres's clock alone."""

    __tablename__ = "worker_leases"

    worker_id: UUID = Field(primary_key=True)
    host: str = Field(sa_column=Column(Text, nullable=False))
    pid: int
    version: str = Field(sa_column=Column(Text, nullable=False))
    started_at: datetime = Field(sa_column=timestamp(nullable=False, now=True))
    renewed_at: datetime = Field(sa_column=timestamp(nullable=False, now=True))
    expires_at: datetime = Field(sa_column=timestamp(nullable=False, index=True))
    stopped_at: datetime | None = Field(default=None, sa_column=timestamp())


class DeadLetter(Table, table=True):
    """A journal event that Postgres refused as data: kept whole, with the refusal's code alone."""

    __tablename__ = "dead_letters"
    __table_args__ = (UniqueConstraint("session_id", "digest"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    session_id: UUID
    worker_id: UUID | None = None
    kind: str = Field(sa_column=Column(Text, nullable=False))
    payload: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    sqlstate: str = Field(sa_column=Column(Text, nullable=False))
    constraint_name: str | None = Field(default=None, sa_column=Column(Text))
    attempts: int = Field(default=1, sa_column_kwargs={"server_default": sql("1")})
    created_at: datetime | None = Field(default=None, sa_column=timestamp(nullable=False, now=True))


class Tombstone(Table, table=True):
    """What was erased, or is off the record: dropped on its way in, whenever it comes again."""

    __tablename__ = "tombstones"
    __table_args__ = (
        CheckConstraint("(session_id IS NULL) <> (identity_hash IS NULL)", name="subject"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    session_id: UUID | None = Field(default=None, unique=True)
    identity_hash: bytes | None = Field(default=None, sa_column=Column(LargeBinary, unique=True))
    dropped: int = Field(default=0, sa_column_kwargs={"server_default": sql("0")})
    created_at: datetime | None = Field(default=None, sa_column=timestamp(nullable=False, now=True))


class AnalysisRun(Table, table=True):
    """One after-session analysis of one transcript: its uniqueness is what makes it once."""

    __tablename__ = "analysis_runs"
    __table_args__ = (UniqueConstraint("session_id", "kind", "transcript_sha256"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    session_id: UUID = Field(
        sa_column=Column(ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False)
    )
    kind: str = Field(sa_column=Column(Text, nullable=False))
    transcript_sha256: str = Field(sa_column=Column(Text, nullable=False))
    model: str | None = Field(default=None, sa_column=Column(Text))
    prompt_version: str | None = Field(default=None, sa_column=Column(Text))
    created_at: datetime | None = Field(default=None, sa_column=timestamp(nullable=False, now=True))


class ApiKey(Table, table=True):
    """A caller of the API: its key is stored as a hash, and says who the caller is."""

    __tablename__ = "api_keys"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    name: str = Field(sa_column=Column(Text, nullable=False))
    key_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    scopes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    identity: str | None = Field(default=None, sa_column=Column(Text))
    rooms: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    user_id: UUID | None = Field(
        default=None, sa_column=Column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    )
    created_at: datetime | None = Field(default=None, sa_column=timestamp(nullable=False, now=True))
    expires_at: datetime | None = Field(default=None, sa_column=timestamp())
    last_used_at: datetime | None = Field(default=None, sa_column=timestamp())
    revoked_at: datetime | None = Field(default=None, sa_column=timestamp())


class HealthCheck(Table, table=True):
    """One recorded check of one service; the uptime history is made of these."""

    __tablename__ = "health_checks"
    __table_args__ = (
        one_of("status", ("healthy", "degraded", "down")),
        Index("ix_health_checks_checked_at", "checked_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    service: str = Field(sa_column=Column(Text, nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False))
    latency_ms: float | None = None
    checked_at: datetime = Field(sa_column=timestamp(nullable=False, now=True))


class SyncRun(Table, table=True):
    """What an outside system reported of one of its own synchronisations."""

    __tablename__ = "sync_runs"
    __table_args__ = (Index("ix_sync_runs_system_finished_at", "system", "finished_at"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    system: str = Field(sa_column=Column(Text, nullable=False))
    finished_at: datetime = Field(sa_column=timestamp(nullable=False))
    success: bool
    error: str | None = Field(default=None, sa_column=Column(Text))
    members_found: int | None = None
    new_members: int | None = None


class Installation(Table, table=True):
    """One row: what this installation keeps to itself. The key makes tombstones' hashes keyed."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    tombstone_key: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
