"""The processes of an installation as Postgres knows them: workers by lease, jobs by heartbeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from psycopg import AsyncConnection
from psycopg.rows import class_row

Connection = AsyncConnection[Any]

KEPT_DAYS = 1
"""How long a worker that stopped is still shown."""
HEARTBEAT_SECONDS = 60
"""A runner of jobs says every 10 s that it lives."""


@dataclass(frozen=True, slots=True)
class ProcessRow:
    name: str
    number: int
    """The process id on its host, or the number that the queue gave it."""
    status: Literal["online", "stopped", "errored"]
    memory_bytes: int | None
    cpu_percent: float | None
    uptime_seconds: float | None
    """Null where nobody knows since when."""


_WORKERS = """
SELECT CASE WHEN host = '' THEN 'worker' ELSE 'worker ' || host END AS name, pid AS number,
       CASE WHEN stopped_at IS NOT NULL THEN 'stopped'
            WHEN expires_at > now() THEN 'online' ELSE 'errored' END AS status,
       memory_bytes, cpu_percent,
       EXTRACT(epoch FROM COALESCE(stopped_at, LEAST(now(), expires_at)) - started_at)::float8
           AS uptime_seconds
FROM worker_leases l
WHERE expires_at > now() - %(days)s * interval '1 day'
   OR EXISTS (SELECT FROM sessions s WHERE s.worker_id = l.worker_id AND s.status = 'active')
ORDER BY started_at DESC, worker_id
"""

_JOBS = """
SELECT 'jobs' AS name, id::int AS number,
       CASE WHEN last_heartbeat > now() - %(seconds)s * interval '1 second'
           THEN 'online' ELSE 'errored' END AS status,
       NULL::bigint AS memory_bytes, NULL::float8 AS cpu_percent, NULL::float8 AS uptime_seconds
FROM procrastinate_workers ORDER BY id
"""


async def listed(db: Connection) -> list[ProcessRow]:
    """Return the workers, newest first, and the runners of jobs."""
    async with db.cursor(row_factory=class_row(ProcessRow)) as cursor:
        workers = await (await cursor.execute(_WORKERS, {"days": KEPT_DAYS})).fetchall()
        found = await cursor.execute(_JOBS, {"seconds": HEARTBEAT_SECONDS})
        return [*workers, *await found.fetchall()]
