"""What outside systems reported of their own synchronisations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from persistence.ids import new_id

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class SyncRun:
    finished_at: datetime
    success: bool
    error: str | None = None
    members_found: int | None = None
    new_members: int | None = None


async def record(db: Connection, system: str, run: SyncRun) -> None:
    """Keep a run of `system`; the same one told twice is one."""
    query = """
        INSERT INTO sync_runs
            (id, system, finished_at, success, error, members_found, new_members)
        SELECT %s, %s, %s, %s, %s, %s, %s
        WHERE NOT EXISTS (
            SELECT FROM sync_runs WHERE system = %s AND finished_at = %s)
    """
    told = (run.finished_at, run.success, run.error, run.members_found, run.new_members)
    async with db.transaction():
        # two that tell of it at once: the second one looks when the first has said it
        await db.execute(
            "SELECT pg_advisory_xact_lock(hashtext('sync_runs'), hashtext(%s))", [system]
        )
        await db.execute(query, (new_id(), system, *told, system, run.finished_at))


async def last(db: Connection, system: str) -> SyncRun | None:
    """Return the latest run that `system` reported, None if it never did."""
    query = """
        SELECT finished_at, success, error, members_found, new_members FROM sync_runs
        WHERE system = %s ORDER BY finished_at DESC LIMIT 1
    """
    async with db.cursor(row_factory=class_row(SyncRun)) as cursor:
        return await (await cursor.execute(query, (system,))).fetchone()
