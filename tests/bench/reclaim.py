"""How long it takes to end the sessions that a worker with 100,000 of them left behind.

As `liveness.reclaim` does it; against it, on the same table and in turns, the same for one session
after another; and, as what is to be had of this Postgres at most, the same rows written by a bare
UPDATE, which looks for nothing, locks nothing and asks for nothing back. The sessions have ids and
starts as sessions have them, each later than the one before. Jobs are deferred by nobody: none of
these sessions has a turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

from results import Bench, Result, Row
from samples import median_ratio, percentile
from stand import database

from persistence import liveness
from persistence.database import connect
from persistence.deferring import Db

SESSIONS = 100_000
SINGLY = 300
GOAL_RATIO, GOAL_SECONDS = 20.0, 2.0
_MAKE = """
INSERT INTO sessions (id, worker_id, room_name, client_identity, started_at, last_turn_at)
SELECT uuidv7(), %s, 'room-' || n, 'client-' || n,
    now() - interval '1 hour' + n * interval '1 ms', now() - interval '10 minutes'
FROM generate_series(1, %s) AS n
"""
_BARE = """
UPDATE sessions SET status = 'cancelled', end_reason = 'worker_lost', reclaimed_at = now(),
    ended_at = last_turn_at, duration_seconds = 3000, turn_count = 0, completeness = 'partial',
    completeness_reason = 'worker lost'
"""


def measure(bench: Bench) -> Result:
    """Return how long it took all at once, and how much faster that was than singly."""
    sessions, singly = bench.size(SESSIONS, 2000), bench.size(SINGLY, 50)
    with database(bench.folder) as url:
        at_once, one_by_one, bare = asyncio.run(_reclaims(bench, url, sessions, singly))
    ratio = median_ratio(one_by_one, [seconds / sessions for seconds in at_once])
    took = percentile(at_once, 0.5)
    rows = [
        Row(
            f"{sessions:,} sessions at once",
            f"{took:.2f} s",
            f"{GOAL_SECONDS:.0f} s",
            took <= GOAL_SECONDS,
        ),
        Row(
            "against one at a time",
            f"{1000 * percentile(one_by_one, 0.5):.2f} ms each: {ratio:.0f}x",
            f"{GOAL_RATIO:.0f}x",
            ratio >= GOAL_RATIO,
        ),
        Row("the same rows, a bare UPDATE", f"{percentile(bare, 0.5):.2f} s"),
    ]
    data = {"atOnceSeconds": at_once, "eachSeconds": one_by_one, "bareSeconds": bare}
    return Result(rows, {**data, "ratio": ratio})


async def _reclaims(
    bench: Bench, url: str, sessions: int, singly: int
) -> tuple[list[float], list[float], list[float]]:
    """Return seconds for all at once, seconds a session one at a time, seconds of the bare UPDATE.

    Each of the large ones begins on an empty table.
    """
    at_once: list[float] = []
    one_by_one: list[float] = []
    bare: list[float] = []
    async with await connect(url, "bench") as db:
        for _ in range(bench.size(5, 2)):
            one_by_one.append(await _one_by_one(db, singly))
            await db.execute("TRUNCATE sessions CASCADE")
            at_once.append(await _reclaimed(db, sessions))
            await db.execute("TRUNCATE sessions CASCADE")
            bare.append(await _bare(db, sessions))
            await db.execute("TRUNCATE sessions CASCADE")
            bench.report(
                f"{at_once[-1]:.2f} s, singly {1000 * one_by_one[-1]:.2f} ms each,"
                f" a bare UPDATE {bare[-1]:.2f} s"
            )
    return at_once, one_by_one, bare


async def _one_by_one(db: Db, count: int) -> float:
    took = 0.0
    for _ in range(count):
        took += await _reclaimed(db, 1)
    return took / count


async def _bare(db: Db, count: int) -> float:
    await db.execute(_MAKE, [uuid4(), count])
    await db.execute("ANALYZE sessions")
    began = time.perf_counter()
    await db.execute(_BARE)
    return time.perf_counter() - began


async def _reclaimed(db: Db, count: int) -> float:
    """Reclaim `count` sessions of a worker that nobody ever saw; return the seconds."""
    await db.execute(_MAKE, [uuid4(), count])
    if count > 1:
        await db.execute("ANALYZE sessions")
    began = time.perf_counter()
    found = await liveness.reclaim(db, _nothing)
    took = time.perf_counter() - began
    if len(found) != count:
        raise RuntimeError("not all was reclaimed")
    return took


async def _nothing(_db: Db, _session_ids: Sequence[UUID], *, delay: timedelta) -> None:
    """Defer nothing."""
