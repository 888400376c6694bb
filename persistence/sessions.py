"""Writing sessions: what the journal says of them, any number of times.

An end that a reclaim gave (`reclaimed_at`) is provisional: any event of the session's journal takes
it back. An end that the journal gave stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from persistence.people import lookup
from persistence.rows import Row

RECLAIMED_MINUTES = 120
"""A session whose worker is gone is never said to have lasted longer."""

_FACTS = (
    "room_name",
    "room_sid",
    "job_id",
    "client_identity",
    "pipeline",
    "prompt_version",
    "language",
    "scenario_id",
)
_RECLAIM_GIVES = (
    "ended_at",
    "duration_seconds",
    "end_reason",
    "turn_count",
    "transcript_sha256",
    "completeness",
    "completeness_reason",
    "reclaimed_at",
)
_TAKEN_BACK = ",\n    ".join(
    [
        "status = CASE WHEN s.reclaimed_at IS NULL THEN s.status ELSE 'active' END",
        *(
            f"{name} = CASE WHEN s.reclaimed_at IS NULL THEN s.{name} END"
            for name in _RECLAIM_GIVES
        ),
    ]
)
_APPOINTMENT = "(SELECT a.{} FROM appointments a WHERE a.room_name = %(room_name)s::text)"

UPSERT = f"""
INSERT INTO sessions AS s (id, worker_id, {", ".join(_FACTS)}, started_at, last_turn_at,
    appointment_id, user_id, coach_id)
VALUES (%(id)s, %(worker_id)s, {", ".join(f"%({name})s::text" for name in _FACTS)},
    %(started_at)s, %(last_turn_at)s,
    {_APPOINTMENT.format("id")},
    COALESCE({lookup("client")}, {_APPOINTMENT.format("client_id")}),
    COALESCE({lookup("coach")}, {_APPOINTMENT.format("coach_id")}))
ON CONFLICT (id) DO UPDATE SET
    {", ".join(f"{name} = COALESCE(EXCLUDED.{name}, s.{name})" for name in _FACTS)},
    worker_id = CASE WHEN s.status = 'active' OR s.reclaimed_at IS NOT NULL
        THEN EXCLUDED.worker_id ELSE s.worker_id END,
    started_at = CASE WHEN %(start_known)s THEN EXCLUDED.started_at
        ELSE LEAST(s.started_at, EXCLUDED.started_at) END,
    last_turn_at = GREATEST(s.last_turn_at, EXCLUDED.last_turn_at),
    is_indexed = false,
    appointment_id = COALESCE(s.appointment_id, EXCLUDED.appointment_id),
    user_id = COALESCE(s.user_id, EXCLUDED.user_id),
    coach_id = COALESCE(s.coach_id, EXCLUDED.coach_id),
    {_TAKEN_BACK}
"""  # noqa: S608 the names are the ones above

TAKE_BACK = f"UPDATE sessions s SET {_TAKEN_BACK} WHERE id = %(id)s AND reclaimed_at IS NOT NULL"  # noqa: S608

END = """
UPDATE sessions SET
    status = %(status)s,
    ended_at = GREATEST(%(ended_at)s, started_at),
    duration_seconds = LEAST(
        EXTRACT(epoch FROM GREATEST(%(ended_at)s, started_at) - started_at),
        CASE WHEN %(end_reason)s = 'worker_lost' THEN %(longest)s END),
    end_reason = %(end_reason)s,
    turn_count = %(turn_count)s,
    transcript_sha256 = %(transcript_sha256)s,
    completeness = CASE WHEN refused.some THEN 'partial' ELSE %(completeness)s END,
    completeness_reason = CASE WHEN refused.some
        THEN concat_ws('; ', %(completeness_reason)s::text, %(dead_letters)s::text)
        ELSE %(completeness_reason)s END
FROM (SELECT EXISTS (SELECT FROM dead_letters WHERE session_id = %(id)s) AS some) AS refused
WHERE id = %(id)s AND status = 'active'
RETURNING id
"""

MADE_WHOLE = """
UPDATE sessions SET
    completeness = CASE WHEN completeness_reason = %(reason)s THEN 'recovered'
        ELSE completeness END,
    completeness_reason = NULLIF(
        array_to_string(
            array_remove(string_to_array(completeness_reason, '; '), %(reason)s), '; '),
        '')
WHERE id = %(id)s AND %(reason)s = ANY(string_to_array(completeness_reason, '; '))
    AND NOT EXISTS (SELECT FROM dead_letters WHERE session_id = %(id)s)
RETURNING id
"""


async def upsert(db: AsyncConnection[Any], rows: Sequence[Row]) -> None:
    """Make or complete sessions; a provisional end of theirs is taken back."""
    await db.cursor().executemany(UPSERT, rows)


async def take_back(db: AsyncConnection[Any], rows: Sequence[Row]) -> None:
    """Take the provisional ends of sessions back, without touching anything else."""
    await db.cursor().executemany(TAKE_BACK, rows)


async def end(db: AsyncConnection[Any], row: Row) -> bool:
    """End a session; return whether it had not ended before."""
    done = await db.execute(END, {**row, "longest": RECLAIMED_MINUTES * 60})
    return await done.fetchone() is not None


async def made_whole(db: AsyncConnection[Any], session_id: UUID, reason: str) -> bool:
    """Take `reason` from an ended session that has no dead letters left; return whether it was."""
    done = await db.execute(MADE_WHOLE, {"id": session_id, "reason": reason})
    return await done.fetchone() is not None


async def with_turns(
    db: AsyncConnection[Any], session_ids: Sequence[UUID], at_least: int
) -> list[UUID]:
    """Return those of the sessions of which at least so many turns are stored."""
    found = await db.execute(
        "SELECT session_id FROM turns WHERE session_id = ANY(%s)"
        " GROUP BY session_id HAVING count(*) >= %s",
        [list(session_ids), at_least],
    )
    return [session_id for (session_id,) in await found.fetchall()]
