"""1,000 sessions at a third of a turn a second each, in 16 processes, through one shipper.

How long a turn takes from happening to being visible in Postgres, all the way: through the journal
of its session, the shipper's process and a commit, to the notification of a trigger in this one.
The seconds in which the sessions begin are left out.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import psycopg
from durability import NOTIFY
from results import Bench, Result, Row, milliseconds
from samples import Spread, spread
from stand import database, running, shipper

from agent.local.processes import Children

APPENDER = Path(__file__).with_name("appender_process.py")
PROCESSES, SESSIONS, SECONDS = 16, 1000, 30
WARM_UP_SECONDS = 15.0
GOAL_P50, GOAL_P99, GOAL_CONNECTIONS = 0.005, 0.025, 2
_CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'voice-coach %'
"""


def measure(bench: Bench) -> Result:
    """Return where the turns' delays lie, and how many connections it took."""
    children = Children(bench.folder)
    journals = bench.folder / "journal"
    journals.mkdir()
    seconds = bench.size(SECONDS, 5)
    with ExitStack() as stack:
        url = stack.enter_context(database(bench.folder))
        stack.enter_context(shipper(children, journals, url))
        for number in range(PROCESSES):
            count = bench.size(SESSIONS, 160) * (number + 1) // PROCESSES
            count -= bench.size(SESSIONS, 160) * number // PROCESSES
            command = [sys.executable, str(APPENDER), str(journals), str(count)]
            stack.enter_context(running(children, f"appender-{number}", command, "appending"))
        bench.report("all sessions are there")
        delays, connections = asyncio.run(_watched(url, seconds))
    return _result(spread(delays), connections, len(delays) / seconds)


async def _watched(url: str, seconds: float) -> tuple[list[float], int]:
    """Return the delays (seconds) of the turns seen in so many seconds, and the connections."""
    delays: list[float] = []
    await asyncio.sleep(WARM_UP_SECONDS)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        await db.execute(NOTIFY)
        await db.execute("LISTEN bench")
        async for notice in db.notifies(timeout=seconds):
            now = time.perf_counter_ns()
            delays.append((now - int(notice.payload.partition("-")[0])) / 1e9)
        found = await (await db.execute(_CONNECTIONS)).fetchone()
    return delays, int(found[0]) if found else 0


def _result(delays: Spread, connections: int, rate: float) -> Result:
    rows = [
        Row(
            f"event to visible in Postgres, p50 ({delays.count} turns)",
            milliseconds(delays.p50),
            milliseconds(GOAL_P50),
            delays.p50 <= GOAL_P50,
        ),
        Row(
            "the same, p99",
            milliseconds(delays.p99),
            milliseconds(GOAL_P99),
            delays.p99 <= GOAL_P99,
        ),
        Row(
            "connections of shipper and lease",
            str(connections),
            str(GOAL_CONNECTIONS),
            connections <= GOAL_CONNECTIONS,
        ),
    ]
    return Result(
        rows, {"visibleSeconds": asdict(delays), "connections": connections, "turnsASecond": rate}
    )
