"""Reading one session with what was said in it, for the API and the terminal; see `listing`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from persistence import ratings, viewers
from persistence.events import transcript_sha256
from persistence.ratings import Rating
from persistence.reads import NOTE, Reading
from persistence.viewers import Viewer

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class SessionRow:
    id: UUID
    status: str
    room_name: str | None
    room_sid: str | None
    appointment_id: UUID | None
    client_id: UUID | None
    client_identity: str | None
    client_display_name: str | None
    client_email: str | None
    coach_id: UUID | None
    coach_identity: str | None
    coach_display_name: str | None
    coach_email: str | None
    pipeline: str | None
    language: str | None
    started_at: datetime
    ended_at: datetime | None
    duration_seconds: float | None
    """Of a session that still runs: so far."""
    end_reason: str | None
    receipt_turn_count: int | None
    receipt_sha256: str | None
    completeness: str | None
    completeness_reason: str | None
    ai_summary: str | None
    turn_count: int
    legacy_transcript: str | None
    """Null where there are turns."""


@dataclass(frozen=True, slots=True)
class TurnRow:
    id: UUID
    seq: int
    item_id: str
    role: str
    speaker_identity: str | None
    user_id: UUID | None
    display_name: str | None
    email: str | None
    text: str
    generated_text: str | None
    interrupted: bool
    confidence: float | None
    language: str | None
    started_at: datetime
    ended_at: datetime
    recorded_at: datetime
    source: str
    metrics: dict[str, Any]


SESSION = """
    SELECT s.id, s.status, s.room_name, s.room_sid, s.appointment_id,
           u.id AS client_id, COALESCE(s.client_identity, u.identity) AS client_identity,
           u.display_name AS client_display_name, u.email AS client_email,
           c.id AS coach_id, c.identity AS coach_identity,
           c.display_name AS coach_display_name, c.email AS coach_email,
           s.pipeline, s.language, s.started_at, s.ended_at,
           COALESCE(s.duration_seconds, extract(epoch FROM
               COALESCE(s.ended_at, now()) - s.started_at)::float8) AS duration_seconds,
           s.end_reason, s.turn_count AS receipt_turn_count,
           s.transcript_sha256 AS receipt_sha256, s.completeness, s.completeness_reason,
           s.ai_summary, t.turn_count,
           CASE WHEN t.turn_count = 0 THEN s.legacy_transcript END AS legacy_transcript
    FROM {sessions} s
    LEFT JOIN users u ON u.id = s.user_id
    LEFT JOIN users c ON c.id = s.coach_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS turn_count FROM turns WHERE session_id = s.id) AS t
"""
"""Selects a `SessionRow` for each of `sessions`: a table, or a selection of whole rows of it."""

_ONE = SESSION.format(sessions="sessions")
_TURNS = """
    SELECT t.id, t.seq, t.item_id, t.role, t.speaker_identity, t.user_id, u.display_name,
           u.email, t.text, t.generated_text, t.interrupted, t.confidence, t.language,
           t.started_at, t.ended_at, t.recorded_at, t.source, t.metrics
    FROM turns t LEFT JOIN users u ON u.id = t.user_id
    WHERE t.session_id = %s ORDER BY t.started_at, t.seq, t.id
"""
"""As they are read: by `started_at`, then `seq`."""


class Whole(NamedTuple):
    session: SessionRow
    turns: list[TurnRow]
    rating: Rating | None


async def whole(
    db: Connection,
    session_id: UUID,
    viewer: Viewer = viewers.EVERYTHING,
    reading: Reading | None = None,
) -> Whole | None:
    """Return a session that `viewer` may read, with what was said, as it was at one moment.

    Who reads it is noted, if somebody does. All is asked for at once: Postgres is waited for one
    time.
    """
    where, values = _one(session_id, viewer)
    async with (
        db.cursor(row_factory=class_row(SessionRow)) as found,
        db.cursor(row_factory=class_row(TurnRow)) as said,
        db.cursor(row_factory=class_row(Rating)) as rated,
    ):
        async with db.pipeline(), db.transaction():
            await db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            await found.execute(f"{_ONE} {where}", values)
            await said.execute(_TURNS, (session_id,))
            await rated.execute(ratings.OF, (session_id,))
            if reading is not None:
                await db.execute(f"{NOTE} {where}", {**values, **reading.parameters()})
        row = await found.fetchone()
        if row is None:
            return None
        return Whole(row, await said.fetchall(), await rated.fetchone())


async def session(
    db: Connection, session_id: UUID, viewer: Viewer = viewers.EVERYTHING
) -> SessionRow | None:
    """Return one session, None if there is none of that id that `viewer` may read."""
    where, values = _one(session_id, viewer)
    async with db.cursor(row_factory=class_row(SessionRow)) as cursor:
        return await (await cursor.execute(f"{_ONE} {where}", values)).fetchone()


def _one(session_id: UUID, viewer: Viewer) -> tuple[str, dict[str, Any]]:
    """Return SQL that selects one session that `viewer` may read, and its parameters."""
    values = {"id": session_id, **viewers.parameters(viewer)}
    return f"WHERE s.id = %(id)s AND {viewers.CONDITIONS[viewer.reach]}", values


def keeps_receipt(row: SessionRow, turns: list[TurnRow]) -> bool:
    """Return whether the turns are those that the session's receipt names."""
    found = transcript_sha256(
        (t.seq, t.item_id, t.role, t.speaker_identity, t.text, t.interrupted) for t in turns
    )
    return found == row.receipt_sha256


def name_of(display_name: str | None, email: str | None, identity: str | None) -> str | None:
    """Return how a person is called: their name, else their e-mail's local part, else identity."""
    local_part = (email or "").partition("@")[0].strip()
    return (display_name or "").strip() or local_part or identity


def whole_minutes(seconds: float | None) -> int:
    """Return a duration in minutes, halves up; one that begins by a clock that is ahead is none."""
    return int(max(0.0, seconds or 0.0) / 60 + 0.5)
