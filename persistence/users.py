"""The people of an installation, for those who run it: who there is, and how much they talk."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from persistence.paging import Position

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class UserRow:
    id: UUID
    identity: str
    email: str | None
    display_name: str | None
    role: str
    created_at: datetime
    last_seen: datetime | None
    """The latest of what they did: a session, a call with their key; null if nothing is known."""
    total_sessions: int
    total_seconds: float
    """Of completed sessions."""


@dataclass(frozen=True, slots=True)
class CoachRow(UserRow):
    is_available: bool
    coach_level: str | None
    client_count: int
    """Whom they have, or had, a session or an appointment with."""
    week_seconds: float
    """Of completed sessions that began since Sunday 0:00 UTC."""


_SUNDAY = """(date_trunc('week', now() AT TIME ZONE 'UTC' + interval '1 day')
    - interval '1 day') AT TIME ZONE 'UTC'"""
"""The start of this week: Postgres's own weeks begin on Monday."""

_COMPLETED = "COALESCE(sum(duration_seconds) FILTER (WHERE status = 'completed'), 0)"


def seen_last(column: str) -> str:
    """Return SQL for when user `u` was last in a session that has them in `column`, or null.

    In the one that began last: to look at all of them would take as long as there are many.
    """
    return f"""(SELECT GREATEST(ended_at, last_turn_at, started_at) FROM sessions
        WHERE {column} = u.id ORDER BY started_at DESC, id DESC LIMIT 1)"""  # noqa: S608


_USERS = f"""
    SELECT u.id, u.identity, u.email, u.display_name, u.role, u.created_at,
           GREATEST(u.last_active_at, k.last_seen, {seen_last("user_id")},
                    {seen_last("coach_id")}) AS last_seen,
           s.total_sessions, s.total_seconds
    FROM {{page}} AS u
    CROSS JOIN LATERAL (
        SELECT count(*) AS total_sessions, {_COMPLETED} AS total_seconds FROM (
            SELECT status, duration_seconds FROM sessions WHERE user_id = u.id
            UNION ALL
            SELECT status, duration_seconds FROM sessions
            WHERE coach_id = u.id AND user_id IS DISTINCT FROM u.id) AS theirs) AS s
    CROSS JOIN LATERAL (
        SELECT max(last_used_at) AS last_seen FROM api_keys WHERE user_id = u.id) AS k
"""  # noqa: S608 - constants

_COACHES = f"""
    SELECT u.id, u.identity, u.email, u.display_name, u.role, u.created_at,
           GREATEST(u.last_active_at, k.last_seen, {seen_last("coach_id")}) AS last_seen,
           s.total_sessions, s.total_seconds, u.is_available, u.coach_level,
           s.client_count, w.week_seconds
    FROM {{page}} AS u
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(sessions), 0)::bigint AS total_sessions,
               COALESCE(sum(seconds), 0) AS total_seconds,
               count(*) FILTER (WHERE client IS NOT NULL OR stranger IS NOT NULL) AS client_count
        FROM (
            SELECT client, stranger, sum(session) AS sessions, sum(seconds) AS seconds FROM (
                SELECT user_id AS client,
                       CASE WHEN user_id IS NULL THEN client_identity END AS stranger,
                       1 AS session,
                       CASE WHEN status = 'completed' THEN duration_seconds END AS seconds
                FROM sessions WHERE coach_id = u.id
                UNION ALL
                SELECT client_id, NULL, 0, NULL FROM appointments WHERE coach_id = u.id) AS held
            GROUP BY client, stranger) AS clients) AS s
    CROSS JOIN LATERAL (
        SELECT {_COMPLETED} AS week_seconds
        FROM sessions WHERE coach_id = u.id AND started_at >= {_SUNDAY}) AS w
    CROSS JOIN LATERAL (
        SELECT max(last_used_at) AS last_seen FROM api_keys WHERE user_id = u.id) AS k
"""  # noqa: S608 - constants
"""A coach's sessions are gone through once, by an index alone."""

_PAGE = """(
    SELECT * FROM users WHERE {condition} ORDER BY created_at DESC, id DESC LIMIT %(limit)s)"""
"""Those of one page: what they did is looked for of them alone."""
_BEHIND = "(created_at, id) < (%(created_at)s, %(id)s)"
_ORDER = "ORDER BY u.created_at DESC, u.id DESC"


async def page(db: Connection, *, limit: int, after: Position | None = None) -> list[UserRow]:
    """Return at most `limit` users of any role, newest first, from behind `after` on."""
    query = _USERS.format(page=_page(after))
    async with db.cursor(row_factory=class_row(UserRow)) as cursor:
        await cursor.execute(f"{query} {_ORDER}", _values(limit, after))
        return await cursor.fetchall()


async def coaches(db: Connection, *, limit: int, after: Position | None = None) -> list[CoachRow]:
    """Return at most `limit` coaches, newest first, from behind `after` on."""
    query = _COACHES.format(page=_page(after, "role = 'coach'"))
    async with db.cursor(row_factory=class_row(CoachRow)) as cursor:
        await cursor.execute(f"{query} {_ORDER}", _values(limit, after))
        return await cursor.fetchall()


def _page(after: Position | None, *conditions: str) -> str:
    given = [*conditions, _BEHIND] if after else list(conditions)
    return _PAGE.format(condition=" AND ".join(given) or "true")


def _values(limit: int, after: Position | None) -> dict[str, Any]:
    place = {"created_at": after.at, "id": after.id} if after else {}
    return {"limit": limit, **place}
