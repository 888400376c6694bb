"""Who read which transcript: noted before it is given, and kept when key and session are gone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from persistence.ids import new_id
from persistence.keys import Key


async def note(
    db: AsyncConnection[Any], session_id: UUID, reader: Key, what: str, request_id: str
) -> None:
    """Note that `reader` reads `what` of a session: transcript, export or events."""
    await db.execute(
        "INSERT INTO transcript_reads (id, session_id, key_id, identity, what, request_id)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (new_id(), session_id, reader.id, reader.identity, what, request_id),
    )
