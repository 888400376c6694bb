"""What clients thought of their sessions: one rating a session, said once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Rating:
    rating: int
    """From 1 to 5."""
    comment: str | None
    created_at: datetime


OF = "SELECT rating, comment, created_at FROM session_ratings WHERE session_id = %s"
"""Selects a session's `Rating`, if it has one."""


async def give(db: Connection, session_id: UUID, rating: int, comment: str | None) -> bool:
    """Rate a session for its client; return False, and change nothing, if it is rated already."""
    query = """
        INSERT INTO session_ratings (session_id, rating, comment, user_id)
        SELECT id, %s, %s, user_id FROM sessions WHERE id = %s
        ON CONFLICT (session_id) DO NOTHING
    """
    return (await db.execute(query, (rating, comment, session_id))).rowcount == 1
