"""Who read which transcript: noted before it is given, and kept when key and session are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from persistence.ids import new_id
from persistence.keys import Key


@dataclass(frozen=True, slots=True)
class Reading:
    """One who reads something of a session: transcript, export, events or excerpts."""

    reader: Key
    what: str
    request_id: str

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of `NOTE`."""
        return {
            "read_id": new_id(),
            "key_id": self.reader.id,
            "reader": self.reader.identity,
            "what": self.what,
            "request_id": self.request_id,
        }


NOTE = """
    INSERT INTO transcript_reads (id, session_id, key_id, identity, what, request_id)
    SELECT %(read_id)s, s.id, %(key_id)s, %(reader)s, %(what)s, %(request_id)s FROM sessions s
"""
"""Notes the reading of the sessions that a condition behind it selects."""


async def note(
    db: AsyncConnection[Any], sessions: Sequence[UUID], reader: Key, what: str, request_id: str
) -> None:
    """Note that `reader` reads `what` of sessions: transcript, export, events or excerpts."""
    await db.execute(
        "INSERT INTO transcript_reads (id, session_id, key_id, identity, what, request_id)"
        " SELECT *, %s, %s, %s, %s FROM unnest(%s::uuid[], %s::uuid[])",
        (
            *(reader.id, reader.identity, what, request_id),
            *([new_id() for _ in sessions], list(sessions)),
        ),
    )
