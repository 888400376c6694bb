"""Hearing that something of a session has landed: turns of it, or another status.

Triggers say it as a transaction commits (`migrations`), so whoever looks then sees it.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

CHANNEL = "coach_sessions"


async def listen(db: AsyncConnection[Any]) -> None:
    """Hear of every session from now on."""
    await db.execute(f"LISTEN {CHANNEL}")


async def heard(db: AsyncConnection[Any], within: float) -> set[UUID]:
    """Return of which sessions something landed, as soon as there is one; after `within` s none."""
    return {UUID(notify.payload) async for notify in db.notifies(timeout=within, stop_after=1)}
