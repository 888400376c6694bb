"""The tables that the installation itself runs on: leases, dead letters, keys, checks, audit."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from persistence.ids import new_id
from persistence.tables import Table, one_of, timestamp


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
    memory_bytes: int | None = Field(default=None, sa_column=Column(BigInteger))
    """Of the worker with its jobs, when it last renewed."""
    cpu_percent: float | None = None
    """Of one core, since it renewed before."""


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


class TranscriptRead(Table, table=True):
    """Who read which transcript, kept when key, person and session are gone."""

    __tablename__ = "transcript_reads"
    __table_args__ = (Index("ix_transcript_reads_session_id_read_at", "session_id", "read_at"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    session_id: UUID
    key_id: UUID
    identity: str | None = Field(default=None, sa_column=Column(Text))
    what: str = Field(sa_column=Column(Text, nullable=False))
    request_id: str = Field(sa_column=Column(Text, nullable=False))
    read_at: datetime | None = Field(default=None, sa_column=timestamp(nullable=False, now=True))
