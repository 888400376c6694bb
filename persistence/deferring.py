"""Deferring the jobs of sessions that ended, in the transaction of their ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection

from persistence.database import refused_as_data

log = structlog.get_logger("coach.shipper")

Db: TypeAlias = AsyncConnection[Any]
AfterSession: TypeAlias = Callable[[Db, Sequence[UUID]], Awaitable[None]]
"""Defers the jobs of sessions that ended, on that connection, in the transaction of their ends."""


async def defer(db: Db, session_ids: Sequence[UUID], after_session: AfterSession) -> None:
    """Defer the jobs of sessions; their ends are committed even where jobs cannot be.

    Where they cannot be all at once, each half goes by itself: one session spoils it for no other.
    """
    error = await _not_deferred(db, session_ids, after_session) if session_ids else None
    if error is None:
        return
    if len(session_ids) == 1:
        log.error("jobs_not_deferred", session_id=str(session_ids[0]), error=type(error).__name__)
        return
    middle = len(session_ids) // 2
    await defer(db, session_ids[:middle], after_session)
    await defer(db, session_ids[middle:], after_session)


async def _not_deferred(
    db: Db, session_ids: Sequence[UUID], after_session: AfterSession
) -> Exception | None:
    """Defer the jobs of all or of none; return why of none, raise what is not the jobs' fault."""
    try:
        async with db.transaction():
            await after_session(db, session_ids)
    except Exception as error:
        if isinstance(error, psycopg.Error) and refused_as_data(error) is None:
            raise
        return error
    return None
