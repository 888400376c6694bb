"""Writing turns and session events: what is there stays as it was said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection

from persistence.people import lookup
from persistence.rows import Row

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

INSERT = f"""
INSERT INTO turns ({", ".join(_TURN)}, user_id)
VALUES ({", ".join(f"%({name})s" for name in _TURN)}, {lookup("speaker")})
ON CONFLICT (session_id, item_id) DO UPDATE SET user_id = EXCLUDED.user_id
WHERE turns.user_id IS NULL AND EXCLUDED.user_id IS NOT NULL
"""  # noqa: S608 the names are the ones above

INSERT_EVENT = f"""
INSERT INTO session_events ({", ".join(_EVENT)})
VALUES ({", ".join(f"%({name})s" for name in _EVENT)}) ON CONFLICT (id) DO NOTHING
"""  # noqa: S608

NAME_SPEAKER = f"""
UPDATE turns SET user_id = known.id FROM (SELECT {lookup("speaker")} AS id) AS known
WHERE session_id = %(session_id)s AND speaker_identity = %(speaker_identity)s
    AND role <> 'ai' AND user_id IS NULL AND known.id IS NOT NULL
"""  # noqa: S608


async def insert(db: AsyncConnection[Any], rows: Sequence[Row]) -> None:
    """Add turns that are not there yet; one whose speaker was unknown may get its user."""
    await db.cursor().executemany(INSERT, rows)


async def insert_events(db: AsyncConnection[Any], rows: Sequence[Row]) -> None:
    """Add session events that are not there yet."""
    await db.cursor().executemany(INSERT_EVENT, rows)


async def name_speakers(db: AsyncConnection[Any], rows: Sequence[Row]) -> None:
    """Give turns the users that were unknown when they were spoken."""
    await db.cursor().executemany(NAME_SPEAKER, rows)
