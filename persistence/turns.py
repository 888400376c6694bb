"""Writing turns and session events: what is there stays as it was said.

Many go in one statement, as JSON: Postgres takes it apart at a fraction of what it costs to hand it
each value by itself, and no slower than COPY into the same table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection

from persistence.people import lookup
from persistence.rows import Row, as_json, json_of

_TURN = (
    "id",
    "session_id",
    "seq",
    "item_id",
    "role",
    "speaker_identity",
    "text",
    "generated_text",
    "interrupted",
    "confidence",
    "language",
    "started_at",
    "ended_at",
    "recorded_at",
    "source",
    "metrics",
)
_EVENT = ("id", "session_id", "seq", "type", "role", "speaker_identity", "at", "data")

_ONCE = """
ON CONFLICT (session_id, item_id) DO UPDATE SET user_id = EXCLUDED.user_id
WHERE turns.user_id IS NULL AND EXCLUDED.user_id IS NOT NULL
"""

INSERT = f"""
INSERT INTO turns ({", ".join(_TURN)}, user_id)
VALUES ({", ".join(f"%({name})s" for name in _TURN)}, {lookup("speaker")})
{_ONCE}
"""  # noqa: S608 the names are the ones above

INSERT_LINES = f"""
WITH known AS MATERIALIZED (
    SELECT claim, {lookup("speaker", "given")} AS user_id FROM json_to_recordset(%(claims)s::json)
    AS given (claim text, speaker_id uuid, speaker_names text[])
)
INSERT INTO turns ({", ".join(_TURN)}, user_id)
SELECT turn_id, session_id, seq, item_id, role, speaker_identity, text, generated_text, interrupted,
    confidence, language, started_at, ended_at, at, source, metrics, known.user_id
FROM json_to_recordset(%(lines)s::json) AS line (turn_id uuid, session_id uuid, seq integer,
    item_id text, role text, speaker_identity text, speaker_user text, text text,
    generated_text text, interrupted boolean, confidence float8, language text,
    started_at timestamptz, ended_at timestamptz, at timestamptz, source text, metrics jsonb)
LEFT JOIN known ON line.role <> 'ai'
    AND known.claim = COALESCE(NULLIF(line.speaker_user, ''), NULLIF(line.speaker_identity, ''))
{_ONCE}
"""  # noqa: S608

INSERT_EVENT = f"""
INSERT INTO session_events ({", ".join(_EVENT)})
VALUES ({", ".join(f"%({name})s" for name in _EVENT)}) ON CONFLICT (id) DO NOTHING
"""  # noqa: S608

NAME_SPEAKERS = f"""
UPDATE turns SET user_id = known.id FROM (
    SELECT session_id, speaker_identity, {lookup("speaker", "given")} AS id
    FROM json_to_recordset(%s::json) AS given
        (session_id uuid, speaker_identity text, speaker_id uuid, speaker_names text[])
) AS known
WHERE turns.session_id = known.session_id AND turns.speaker_identity = known.speaker_identity
    AND turns.role <> 'ai' AND turns.user_id IS NULL AND known.id IS NOT NULL
"""  # noqa: S608


async def insert(db: AsyncConnection[Any], rows: Sequence[Row]) -> None:
    """Add turns that are not there yet; one whose speaker was unknown may get its user."""
    await db.cursor().executemany(INSERT, rows)


async def insert_lines(
    db: AsyncConnection[Any], lines: Sequence[bytes], claims: Sequence[Row]
) -> None:
    """Add turns the same, given as `rows.turn_lines` makes them, no `item_id` of a session twice.

    `claims` (`rows.speaker_claims`) name whom their speakers claim to be.
    """
    given = {"lines": json_of(b"[%b]" % b",".join(lines)), "claims": as_json(claims)}
    await db.execute(INSERT_LINES, given)


async def insert_events(db: AsyncConnection[Any], rows: Sequence[Row]) -> None:
    """Add session events that are not there yet."""
    await db.cursor().executemany(INSERT_EVENT, rows)


async def name_speakers(db: AsyncConnection[Any], rows: Sequence[Row]) -> None:
    """Give turns the users that were unknown when they were spoken."""
    # planned anew each time: a plan made while a table is small reads all of it when it is large
    await db.execute(NAME_SPEAKERS, [as_json(rows)], prepare=False)
