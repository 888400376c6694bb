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
from persistence.rows import Row, as_json

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
_COLUMNS = f"""id, worker_id, {", ".join(_FACTS)}, started_at, last_turn_at,
    appointment_id, user_id, coach_id"""


def _people(room_name: str, given: str | None = None) -> str:
    """Return the values of the last three columns: of the appointment in that room, and its own."""
    held = f"(SELECT a.{{}} FROM appointments a WHERE a.room_name = {room_name})"  # noqa: S608
    return f"""{held.format("id")},
    COALESCE({lookup("client", given)}, {held.format("client_id")}),
    COALESCE({lookup("coach", given)}, {held.format("coach_id")})"""


_COMPLETED = f"""
ON CONFLICT (id) DO UPDATE SET
    {", ".join(f"{name} = COALESCE(EXCLUDED.{name}, s.{name})" for name in _FACTS)},
    started_at = CASE WHEN %(start_known)s THEN EXCLUDED.started_at
        ELSE LEAST(s.started_at, EXCLUDED.started_at) END,
    last_turn_at = GREATEST(s.last_turn_at, EXCLUDED.last_turn_at),
    is_indexed = false,
    appointment_id = COALESCE(s.appointment_id, EXCLUDED.appointment_id),
    user_id = COALESCE(s.user_id, EXCLUDED.user_id),
    coach_id = COALESCE(s.coach_id, EXCLUDED.coach_id)
"""

_ALIVE = f"""{_COMPLETED},
    worker_id = CASE WHEN s.status = 'active' OR s.reclaimed_at IS NOT NULL
        THEN EXCLUDED.worker_id ELSE s.worker_id END,
    {_TAKEN_BACK}
"""

_ONE = f"""
INSERT INTO sessions AS s ({_COLUMNS})
VALUES (%(id)s, %(worker_id)s, {", ".join(f"%({name})s::text" for name in _FACTS)},
    %(started_at)s, %(last_turn_at)s, {_people("%(room_name)s::text")})
"""  # noqa: S608 the names are the ones above

UPSERT, COMPLETE = _ONE + _ALIVE, _ONE + _COMPLETED

UPSERT_MANY = f"""
INSERT INTO sessions AS s ({_COLUMNS})
SELECT id, worker_id, {", ".join(_FACTS)}, started_at, last_turn_at,
    {_people("given.room_name", "given")}
FROM json_to_recordset(%(rows)s::json) AS given (id uuid, worker_id uuid,
    {", ".join(f"{name} text" for name in _FACTS)}, started_at timestamptz,
    last_turn_at timestamptz, client_id uuid, client_names text[], coach_id uuid,
    coach_names text[])
{_ALIVE}
"""  # noqa: S608

TAKE_BACK = f"""
UPDATE sessions s SET {_TAKEN_BACK} WHERE id = ANY(%s) AND reclaimed_at IS NOT NULL
"""  # noqa: S608

END = """
UPDATE sessions s SET
    status = given.status,
    ended_at = GREATEST(given.ended_at, s.started_at),
    duration_seconds = LEAST(
        EXTRACT(epoch FROM GREATEST(given.ended_at, s.started_at) - s.started_at),
        CASE WHEN given.end_reason = 'worker_lost' THEN %(longest)s END),
    end_reason = given.end_reason,
    turn_count = given.turn_count,
    transcript_sha256 = given.transcript_sha256,
    completeness = CASE WHEN given.some_refused THEN 'partial' ELSE given.completeness END,
    completeness_reason = CASE WHEN given.some_refused
        THEN concat_ws('; ', given.completeness_reason, given.dead_letters)
        ELSE given.completeness_reason END
FROM (
    SELECT *, EXISTS (SELECT FROM dead_letters d WHERE d.session_id = said.id) AS some_refused
    FROM json_to_recordset(%(rows)s::json) AS said (id uuid, status text, ended_at timestamptz,
        end_reason text, turn_count integer, transcript_sha256 text, completeness text,
        completeness_reason text, dead_letters text)
) AS given
WHERE s.id = given.id AND s.status = 'active'
RETURNING s.id
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


async def upsert(db: AsyncConnection[Any], row: Row) -> None:
    """Make or complete a session; a provisional end of it is taken back."""
    await db.execute(UPSERT, row)


async def complete(db: AsyncConnection[Any], row: Row) -> None:
    """Make or complete a session by what is known of it, which is no sign that it lives."""
    await db.execute(COMPLETE, row)


async def upsert_many(db: AsyncConnection[Any], rows: Sequence[Row]) -> None:
    """Do the same for sessions none of which is there twice."""
    for start_known in (True, False):
        given = [row for row in rows if row["start_known"] is start_known]
        if given:
            await db.execute(UPSERT_MANY, {"rows": as_json(given), "start_known": start_known})


async def take_back(db: AsyncConnection[Any], session_ids: Sequence[UUID]) -> None:
    """Take the provisional ends of sessions back, without touching anything else."""
    await db.execute(TAKE_BACK, [list(session_ids)])


async def end(db: AsyncConnection[Any], rows: Sequence[Row]) -> list[UUID]:
    """End sessions; return those that had not ended before."""
    given = {"rows": as_json(rows), "longest": RECLAIMED_MINUTES * 60}
    # planned anew each time: a plan made while a table is small reads all of it when it is large
    done = await db.execute(END, given, prepare=False)
    return [session_id for (session_id,) in await done.fetchall()]


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
