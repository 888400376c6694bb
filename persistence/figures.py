"""How much goes on, in figures; nothing here reads a row for each session that ever was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from persistence.users import seen_last

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Figures:
    total_users: int
    total_coaches: int
    active_users: int
    """Distinct people in active sessions; whom nothing names counts as one of their own."""
    active_rooms: int
    coaches_1h: int
    coaches_1d: int
    coaches_1w: int
    coaches_1m: int
    seconds_today: float
    """Of sessions that were completed today, in UTC; likewise the others."""
    seconds_week: float
    """Since Sunday."""
    seconds_month: float


_SEEN = f"""
    GREATEST(u.last_active_at, (SELECT max(last_used_at) FROM api_keys WHERE user_id = u.id),
             {seen_last("coach_id")})
"""  # noqa: S608 - constants
"""When a coach was last seen: with a key, or in the last session that began with them."""

_FIGURES = f"""
WITH day AS (
    SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AS today
), since AS MATERIALIZED (
    SELECT today AT TIME ZONE 'UTC' AS today,
           (date_trunc('week', today + interval '1 day') - interval '1 day')
               AT TIME ZONE 'UTC' AS week,
           date_trunc('month', today) AT TIME ZONE 'UTC' AS month
    FROM day
), talked AS (
    SELECT COALESCE(sum(s.duration_seconds) FILTER (WHERE s.ended_at >= since.today), 0) AS today,
           COALESCE(sum(s.duration_seconds) FILTER (WHERE s.ended_at >= since.week), 0) AS week,
           COALESCE(sum(s.duration_seconds) FILTER (WHERE s.ended_at >= since.month), 0) AS month
    FROM since LEFT JOIN sessions s
        ON s.status = 'completed' AND s.ended_at >= LEAST(since.week, since.month)
), going_on AS (
    SELECT count(DISTINCT COALESCE(user_id::text, client_identity, id::text)) AS people,
           count(DISTINCT room_name) AS rooms
    FROM sessions WHERE status = 'active'
), coaches AS (
    SELECT now() - {_SEEN} AS ago FROM users u WHERE role = 'coach'
)
SELECT (SELECT count(*) FROM users) AS total_users,
       (SELECT count(*) FROM coaches) AS total_coaches,
       going_on.people AS active_users, going_on.rooms AS active_rooms,
       (SELECT count(*) FROM coaches WHERE ago <= interval '1 hour') AS coaches_1h,
       (SELECT count(*) FROM coaches WHERE ago <= interval '1 day') AS coaches_1d,
       (SELECT count(*) FROM coaches WHERE ago <= interval '7 days') AS coaches_1w,
       (SELECT count(*) FROM coaches WHERE ago <= interval '30 days') AS coaches_1m,
       talked.today AS seconds_today, talked.week AS seconds_week, talked.month AS seconds_month
FROM going_on, talked
"""  # noqa: S608 - a constant in a constant


async def figures(db: Connection) -> Figures:
    """Return the figures of this moment."""
    async with db.cursor(row_factory=class_row(Figures)) as cursor:
        found = await (await cursor.execute(_FIGURES)).fetchone()
    assert found is not None  # noqa: S101 - aggregates give a row
    return found
