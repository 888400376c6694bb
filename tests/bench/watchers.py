"""Following a session: how long after its commit each of 500 watchers has a turn.

One of them stops reading for most of the time, ten are gone in the middle without a word. Turns are
written and watched from one process, so that both moments are of one clock; the API is another.
"""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from api_process import admin_key, served
from results import Bench, Result, Row, milliseconds
from samples import Spread, spread
from stand import database as bench_database

from agent.local.processes import Children
from persistence import database
from persistence.ids import new_id

WATCHERS = 500
VANISHING = 10
TURNS = 60
TURN_EVERY_SECONDS = 0.4
GOAL_SECONDS = 0.2
WAIT_SECONDS = 60.0
TEXT = "What somebody says in one go is about as long as this sentence here, more or less."


class Watcher(asyncio.Protocol):
    """One who follows, and when each turn came, by its number."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._rest = b""
        self.transport: asyncio.Transport
        self.came: dict[int, list[float]] = {}
        self.answered = asyncio.Event()
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            lines = event.splitlines()
            if b"event: turn" in lines:
                numbered = next(line for line in lines if line.startswith(b"id: "))
                self.came.setdefault(int(numbered[4:].partition(b"-")[0]), []).append(now)
                self.answered.set()
            elif b"event: end" in lines:
                self.ended.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.ended.set()


@dataclass
class Followed:
    """What came of it."""

    stayed: list[Watcher]
    slow: Watcher
    committed: dict[int, float] = field(default_factory=dict)
    connections: int = 0
    """To Postgres, of the API for following."""

    @property
    def each_once(self) -> bool:
        """Whether all who stayed, the slow one too, had every turn exactly once."""
        return all(
            watcher.came.keys() == self.committed.keys()
            and all(len(times) == 1 for times in watcher.came.values())
            for watcher in [*self.stayed, self.slow]
        )

    @property
    def delays(self) -> list[float]:
        """How long after its commit each turn came to each who stayed and kept up, in seconds."""
        return [
            watcher.came[seq][0] - committed
            for watcher in self.stayed
            for seq, committed in self.committed.items()
            if seq > 1  # the first was there before anybody came
        ]


async def follow(url: str, port: int, watchers: int, turns: int) -> Followed:
    """Have `watchers` follow a session of `turns` turns on the API at `port`."""
    key = await admin_key(url)
    async with await database.connect(url, "bench") as db:
        session = new_id()
        await db.execute(
            "INSERT INTO sessions (id, status, started_at) VALUES (%s, 'active', now())", [session]
        )
        found = await _watch(port, key, session, watchers, lambda: _say(db, session, 1))
        await asyncio.wait_for(_talk(db, session, found, turns), WAIT_SECONDS + turns)
        return found


async def _watch(port: int, key: str, session: UUID, count: int, first: Any) -> Followed:
    request = (
        f"GET /api/admin/transcripts/{session}/events HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\nX-API-Key: {key}\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    committed = await first()
    made = []
    for _ in range(count):
        _, watcher = await loop.create_connection(lambda: Watcher(request), "127.0.0.1", port)
        made.append(watcher)
    await asyncio.wait_for(asyncio.gather(*(w.answered.wait() for w in made)), WAIT_SECONDS)
    return Followed(made[1:], made[0], {1: committed})


async def _talk(
    db: psycopg.AsyncConnection[Any], session: UUID, found: Followed, turns: int
) -> None:
    found.slow.transport.pause_reading()
    for seq in range(2, turns + 1):
        found.committed[seq] = await _say(db, session, seq)
        if seq == turns // 2:
            vanishing, found.stayed = found.stayed[:VANISHING], found.stayed[VANISHING:]
            for watcher in vanishing:
                watcher.transport.abort()
        await asyncio.sleep(TURN_EVERY_SECONDS)
    found.connections = await _connections(db)
    await db.execute(
        "UPDATE sessions SET status = 'completed', end_reason = 'client_left', ended_at = now()"
        " WHERE id = %s",
        [session],
    )
    found.slow.transport.resume_reading()
    await asyncio.gather(*(watcher.ended.wait() for watcher in [*found.stayed, found.slow]))
    for watcher in [*found.stayed, found.slow]:
        watcher.transport.abort()


async def _say(db: psycopg.AsyncConnection[Any], session: UUID, seq: int) -> float:
    """Write a turn; return when it was committed, by the performance counter."""
    at = datetime.now(UTC)
    await db.execute(
        "INSERT INTO turns (id, session_id, seq, item_id, role, text, started_at, ended_at,"
        " recorded_at) VALUES (%s, %s, %s, %s, 'client', %s, %s, %s, %s)",
        [new_id(), session, seq, f"item-{seq}", TEXT, at, at, at],
    )
    return time.perf_counter()


async def _connections(db: psycopg.AsyncConnection[Any]) -> int:
    found = await db.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%following'"
    )
    row = await found.fetchone()
    return int(row[0]) if row else 0


def measure(bench: Bench) -> Result:
    """Return how long after its commit a turn is with those who watch."""
    watchers, turns = bench.size(WATCHERS, 50), bench.size(TURNS, 10)
    with bench_database(bench.folder) as url, served(Children(bench.folder), url) as port:
        bench.report(f"{watchers} watchers")
        gc.disable()  # the watchers' own garbage is none of the figure
        try:
            found = asyncio.run(follow(url, port, watchers, turns))
        finally:
            gc.enable()
    delays = spread(found.delays)
    return Result(_rows(found, delays, watchers), _data(found, delays, watchers, turns))


def _rows(found: Followed, delays: Spread, watchers: int) -> list[Row]:
    return [
        Row(
            f"a turn with {watchers} watchers, after its commit: p50 / p99 / worst",
            " / ".join(map(milliseconds, (delays.p50, delays.p99, delays.worst))),
            f"p99 < {milliseconds(GOAL_SECONDS)}",
            delays.p99 < GOAL_SECONDS,
        ),
        Row(
            f"every turn once to all but the {VANISHING} who vanished, the slow one too",
            "yes" if found.each_once else "no",
            "yes",
            found.each_once,
        ),
        Row("connections to Postgres for it", str(found.connections), "1", found.connections == 1),
    ]


def _data(found: Followed, delays: Spread, watchers: int, turns: int) -> dict[str, Any]:
    return {
        "watchers": watchers,
        "turns": turns,
        "p50Seconds": delays.p50,
        "p99Seconds": delays.p99,
        "worstSeconds": delays.worst,
        "eachOnce": found.each_once,
        "connections": found.connections,
    }
