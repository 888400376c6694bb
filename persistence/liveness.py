"""Who is alive, by Postgres's clock alone: leases, and ending the sessions of who is not.

No session whose worker reaches Postgres within its lease is ever reclaimed, however the two cross:

- A reclaim locks the leases that have run out together with the sessions. A renewal that was first
  makes the lease a live one, which the reclaim sees once it has the lock; one that comes second
  waits for the reclaim, then finds that the lease had lapsed, and the worker says of all its
  sessions that they live (`Shipper.reassert`), which takes the provisional ends back.
- A worker without a lease cannot be told from one that is about to take its first: the reclaim
  writes one for it that has run out, and the two meet there as above.
- A session that its worker is just writing is locked by it, and skipped.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection

from persistence.database import connect
from persistence.deferring import defer
from persistence.rows import Row
from persistence.sessions import RECLAIMED_MINUTES

log = structlog.get_logger("coach.liveness")

JOBS_DELAY = timedelta(minutes=15)
"""After a reclaim: in this time an owner that was only cut off comes back with the true end."""
WORKER_LOST = "worker lost"
SESSIONS_AT_ONCE = 20_000
"""Reclaimed in one transaction: their rows and the leases are locked for half a second."""
USAGE_SECONDS = 1.0
"""How long a renewal waits for what is told beside it."""

_HELD_UNTIL = "SELECT expires_at FROM worker_leases WHERE worker_id = %s FOR UPDATE"
_RENEW = """
INSERT INTO worker_leases AS l
    (worker_id, host, pid, version, memory_bytes, cpu_percent, renewed_at, expires_at)
VALUES (%(worker)s, %(host)s, %(pid)s, %(version)s, %(memory)s, %(cpu)s,
    now(), now() + %(seconds)s * interval '1 s')
ON CONFLICT (worker_id) DO UPDATE SET
    host = EXCLUDED.host, pid = EXCLUDED.pid, version = EXCLUDED.version, stopped_at = NULL,
    memory_bytes = EXCLUDED.memory_bytes, cpu_percent = EXCLUDED.cpu_percent,
    started_at = CASE WHEN %(first)s THEN now() ELSE l.started_at END,
    renewed_at = GREATEST(l.renewed_at, EXCLUDED.renewed_at),
    expires_at = GREATEST(l.expires_at, EXCLUDED.expires_at)
RETURNING COALESCE(%(held_until)s::timestamptz > clock_timestamp(), false)
"""
_RELEASE = """
UPDATE worker_leases SET stopped_at = now(), renewed_at = now(), expires_at = now()
WHERE worker_id = %s
"""
_LEASE_OF_NONE = """
INSERT INTO worker_leases (worker_id, host, pid, version, renewed_at, expires_at)
SELECT DISTINCT worker_id, '', 0, '', '-infinity'::timestamptz, now() FROM sessions s
WHERE status = 'active' AND worker_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM worker_leases l WHERE l.worker_id = s.worker_id)
ON CONFLICT DO NOTHING
"""
PROVISIONAL_END = """
UPDATE sessions s SET
    status = 'cancelled', end_reason = 'worker_lost', reclaimed_at = now(),
    ended_at = lost.last_sign,
    duration_seconds = LEAST(EXTRACT(epoch FROM lost.last_sign - s.started_at), %(longest)s),
    turn_count = (SELECT count(*) FROM turns t WHERE t.session_id = s.id),
    completeness = 'partial', completeness_reason = %(reason)s
FROM lost WHERE s.id = lost.id RETURNING s.id
"""
"""Of the sessions in `lost` (id, last_sign); takes `longest` in seconds, and `reason`."""
_RECLAIM = f"""
WITH lost AS (
    SELECT s.id, GREATEST(s.started_at, s.last_turn_at, l.renewed_at) AS last_sign
    FROM sessions s JOIN worker_leases l ON l.worker_id = s.worker_id
    WHERE s.status = 'active' AND l.expires_at <= now()
    LIMIT %(most)s FOR UPDATE OF s, l SKIP LOCKED
)
{PROVISIONAL_END}"""  # noqa: S608 the text above


class Usage(NamedTuple):
    """What a worker with its jobs uses of its machine."""

    memory_bytes: int | None = None
    cpu_percent: float | None = None
    """Of one core, since it was measured before."""


class AfterReclaim(Protocol):
    """Defers the jobs of sessions that were reclaimed, to be run after `delay`."""

    async def __call__(
        self, db: AsyncConnection[Any], session_ids: Sequence[UUID], /, *, delay: timedelta
    ) -> None: ...


class Lease:
    """This worker's lease: held while it is renewed, free at `release` or when it runs out."""

    def __init__(  # noqa: PLR0913 what a lease is, by name
        self,
        dsn: str,
        worker_id: UUID,
        *,
        seconds: float,
        renewal_seconds: float,
        lapsed: Callable[[], None],
        usage: Callable[[], Usage] = Usage,
    ) -> None:
        self._dsn = dsn
        self._renewal_seconds = renewal_seconds
        self._lapsed = lapsed
        self._usage = usage
        self._measuring: asyncio.Task[Usage] | None = None
        self._unmeasured = False
        self._first = True
        self._worker_id = worker_id
        self._row: Row = {
            "worker": worker_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": version("voice-coach"),
            "seconds": seconds,
        }
        self._db: AsyncConnection[Any] | None = None
        self.held = asyncio.Event()
        """Set at the first renewal: jobs are taken once it is."""
        self.renewed_at: float | None = None
        """When it was last renewed, by the monotonic clock."""

    async def run(self) -> None:
        """Renew until cancelled, on a connection of its own; failures are tried again."""
        try:
            while True:
                await self._try_renew()
                await asyncio.sleep(self._renewal_seconds)
        finally:
            if self._measuring is not None:
                self._measuring.cancel()
                self._measuring = None
            await self._disconnect()

    async def _try_renew(self) -> None:
        try:
            async with asyncio.timeout(self._renewal_seconds):
                await self.renew()
        except (psycopg.Error, OSError, TimeoutError) as error:
            sqlstate = getattr(error, "sqlstate", None)
            log.warning("lease_not_renewed", error=type(error).__name__, sqlstate=sqlstate)
            await self._disconnect()

    async def renew(self) -> None:
        """Renew once; what `lapsed` is for has happened when the lease had run out before."""
        if self._db is None:
            self._db = await self._connected()
        live = await self._renewed(self._db)
        if not live:
            if not self._first:
                log.warning("lease_had_lapsed")
            self._lapsed()
        self._first = False
        self.renewed_at = time.monotonic()
        self.held.set()

    async def _renewed(self, db: AsyncConnection[Any]) -> bool:
        """Renew, and return whether the lease was still held.

        That is judged once the row is locked, by the clock of that moment: the transaction may have
        begun before the lease ran out and then have waited for a reclaim that took its sessions.
        """
        used = await self._used()
        async with db.transaction():
            before = await (await db.execute(_HELD_UNTIL, [self._worker_id])).fetchone()
            held_until = before[0] if before else None
            row = {
                **self._row,
                "memory": used.memory_bytes,
                "cpu": used.cpu_percent,
                "first": self._first,
                "held_until": held_until,
            }
            renewed = await (await db.execute(_RENEW, row)).fetchone()
        return renewed is not None and bool(renewed[0])

    async def _used(self) -> Usage:
        """Return what is used, nothing where that is not known in time: no lease waits for it.

        A measurement that takes longer is not begun a second time beside the first.
        """
        self._measuring = self._measuring or asyncio.create_task(asyncio.to_thread(self._usage))
        await asyncio.wait({self._measuring}, timeout=USAGE_SECONDS)
        if not self._measuring.done():
            return self._unknown(TimeoutError())
        measured, self._measuring = self._measuring, None
        if (error := measured.exception()) is not None:
            return self._unknown(error)
        return measured.result()

    def _unknown(self, error: BaseException) -> Usage:
        if not self._unmeasured:
            log.warning("usage_unknown", error=type(error).__name__)
        self._unmeasured = True
        return Usage()

    async def release(self) -> None:
        """Give the lease up at an orderly stop, after the last event is shipped."""
        try:
            async with await self._connected() as db:
                await db.execute(_RELEASE, [self._worker_id])
        except (psycopg.Error, OSError) as error:
            log.warning("lease_not_released", error=type(error).__name__)

    async def _connected(self) -> AsyncConnection[Any]:
        return await connect(self._dsn, "lease", answer_seconds=self._renewal_seconds / 2)

    async def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            await db.close()


async def reclaim(
    db: AsyncConnection[Any], after_reclaim: AfterReclaim, *, max_minutes: int = RECLAIMED_MINUTES
) -> list[UUID]:
    """End the active sessions of workers without a live lease, provisionally; return their ids.

    Their jobs are deferred by JOBS_DELAY. Sessions without any worker are somebody else's. `db` is
    in autocommit: many are ended in several transactions. A worker that renews its lease between
    two of them keeps the rest, and takes back what went before.
    """
    row = {"longest": max_minutes * 60, "reason": WORKER_LOST, "most": SESSIONS_AT_ONCE}
    reclaimed: list[UUID] = []
    await db.execute(_LEASE_OF_NONE)
    full = True
    while full:
        found = await _reclaim_some(db, row, after_reclaim)
        reclaimed += found
        full = len(found) == SESSIONS_AT_ONCE
    return reclaimed


async def _reclaim_some(
    db: AsyncConnection[Any], row: Row, after_reclaim: AfterReclaim
) -> list[UUID]:
    async with db.transaction():
        # planned anew each time: most rows may have been reclaimed since the last one
        found = await db.execute(_RECLAIM, row, prepare=False)
        session_ids: list[UUID] = [session_id for (session_id,) in await found.fetchall()]
        await defer(db, session_ids, partial(after_reclaim, delay=JOBS_DELAY))
    return session_ids
