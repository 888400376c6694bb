"""Reading sessions with what was said in them, for the API and the terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from persistence import search, viewers
from persistence.events import transcript_sha256
from persistence.paging import Position
from persistence.viewers import Viewer

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to; people by their user id or their identity."""

    client: str | None = None
    coach: str | None = None
    status: str | None = None
    completeness: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Not included."""
    text: str | None = None
    """Words that were all said in the session, in any case."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    id: UUID
    status: str
    room_name: str | None
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


_SESSION = """
    SELECT s.id, s.status, s.room_name, s.appointment_id,
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

_CONDITIONS = {
    "client": "(s.user_id = ANY(%(client_ids)s) OR s.client_identity = %(client)s)",
    "coach": "s.coach_id = ANY(%(coach_ids)s)",
    "status": "s.status = %(status)s",
    "completeness": "s.completeness = %(completeness)s",
    "since": "s.started_at >= %(since)s",
    "until": "s.started_at < %(until)s",
    "text": search.HOLDING,
    "found": "s.id = ANY(%(found)s)",
}
_PAGE = """(
    SELECT s.* FROM sessions s WHERE {conditions}
    ORDER BY s.started_at DESC, s.id DESC LIMIT %(limit)s)
"""
"""What more is known of sessions is looked for of those of the page alone."""
_AFTER = "(s.started_at, s.id) < (%(after_at)s, %(after_id)s)"

_TURNS = """
    SELECT t.id, t.seq, t.item_id, t.role, t.speaker_identity, t.user_id, u.display_name,
           u.email, t.text, t.generated_text, t.interrupted, t.confidence, t.language,
           t.started_at, t.ended_at, t.recorded_at, t.source, t.metrics
    FROM turns t LEFT JOIN users u ON u.id = t.user_id
    WHERE t.session_id = %s ORDER BY t.started_at, t.seq, t.id
"""
"""As they are read: by `started_at`, then `seq`."""

_NAMED = "SELECT id FROM users WHERE id = %s OR identity = %s"


async def page(
    db: Connection,
    filters: Filters,
    *,
    limit: int,
    after: Position | None = None,
    viewer: Viewer = viewers.EVERYTHING,
) -> list[SessionRow]:
    """Return at most `limit` sessions that `viewer` may read, newest first, from `after` on."""
    values = {**asdict(filters), "limit": limit, **await viewers.parameters(db, viewer)}
    for name in ("client", "coach"):
        if values[name] is not None:
            values[f"{name}_ids"] = await _named(db, values[name])
    values["found"] = None if filters.text is None else await search.few(db, filters.text)
    given = {name for name in _CONDITIONS if values[name] is not None}
    if "found" in given:
        given.remove("text")
    conditions = [viewers.CONDITIONS[viewer.reach], *(_CONDITIONS[name] for name in sorted(given))]
    if after is not None:
        conditions.append(_AFTER)
        values |= {"after_at": after.at, "after_id": after.id}
    page_of = _PAGE.format(conditions=" AND ".join(conditions))
    query = f"{_SESSION.format(sessions=page_of)} ORDER BY s.started_at DESC, s.id DESC"
    async with db.cursor(row_factory=class_row(SessionRow)) as cursor:
        return await (await cursor.execute(query, values)).fetchall()


async def _named(db: Connection, name: str) -> list[UUID]:
    """Return the ids of the users whom `name`, an id or an identity, means."""
    try:
        user_id = UUID(name)
    except ValueError:
        user_id = None
    return [found for (found,) in await (await db.execute(_NAMED, (user_id, name))).fetchall()]


async def whole(
    db: Connection, session_id: UUID, viewer: Viewer = viewers.EVERYTHING
) -> tuple[SessionRow | None, list[TurnRow]]:
    """Return a session that `viewer` may read, and its turns, as they were at one moment.

    All is asked for at once: Postgres is waited for one time.
    """
    query, values = await _one(db, session_id, viewer)
    async with (
        db.cursor(row_factory=class_row(SessionRow)) as found,
        db.cursor(row_factory=class_row(TurnRow)) as said,
    ):
        async with db.pipeline(), db.transaction():
            await db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            await found.execute(query, values)
            await said.execute(_TURNS, (session_id,))
        row = await found.fetchone()
        return row, await said.fetchall() if row else []


async def session(
    db: Connection, session_id: UUID, viewer: Viewer = viewers.EVERYTHING
) -> SessionRow | None:
    """Return one session, None if there is none of that id that `viewer` may read."""
    query, values = await _one(db, session_id, viewer)
    async with db.cursor(row_factory=class_row(SessionRow)) as cursor:
        return await (await cursor.execute(query, values)).fetchone()


async def _one(db: Connection, session_id: UUID, viewer: Viewer) -> tuple[str, dict[str, Any]]:
    """Return the query for one session that `viewer` may read, and its parameters."""
    values = {"id": session_id, **await viewers.parameters(db, viewer)}
    where = f"s.id = %(id)s AND {viewers.CONDITIONS[viewer.reach]}"
    return f"{_SESSION.format(sessions='sessions')} WHERE {where}", values


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
    """Return a duration in minutes, halves up."""
    return int((seconds or 0.0) / 60 + 0.5)
