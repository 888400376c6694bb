"""A database as it is after years: `uv run python tests/bench/many_sessions.py FOLDER`.

Starts a Postgres on new data in FOLDER, fills it with 200,000 sessions and 10 million turns, says
where it is, and serves it until Ctrl-C. Everything is made by Postgres itself, set-wise; indexes
are built once all rows are there, and the words for search are gathered by the product's own code.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from rich.console import Console

sys.path.append(str(Path(__file__).parents[1]))

import stand

from persistence import search

Report = Callable[[str], None]

SESSIONS = 200_000
ACTIVE = 50
"""Sessions that go on: nobody has gathered their words yet."""
CLIENTS = 5_000
COACHES = 100
DAYS = 730
A_BATCH = 10_000
GATHERED_AT_ONCE = 5_000
RARE = "xylotomist"

_PEOPLE = f"""
INSERT INTO users (id, identity, email, display_name, role, created_at, is_available,
                   data_retention_consent)
SELECT gen_random_uuid(), kind || '-' || n, kind || n || '@example.org', kind || ' ' || n, kind,
       now() - n * interval '1 minute' - interval '{DAYS} days', true, true
FROM (SELECT 'client' AS kind, generate_series(1, {CLIENTS}) AS n
      UNION ALL SELECT 'coach', generate_series(1, {COACHES})) AS people
"""
_SESSIONS = f"""
INSERT INTO sessions (id, status, room_name, client_identity, user_id, coach_id, pipeline,
    prompt_version, language, started_at, ended_at, last_turn_at, duration_seconds, end_reason,
    turn_count, transcript_sha256, completeness)
SELECT uuidv7(at - now()), CASE WHEN until IS NULL THEN 'active' WHEN n %% 50 = 0
           THEN 'cancelled' ELSE 'completed' END,
       'room ' || n, c.identity, c.id, CASE WHEN n %% 4 < 3 THEN k.id END, 'stt-llm-tts',
       'p1', 'en', at, until, COALESCE(until, at), EXTRACT(epoch FROM until - at),
       CASE WHEN until IS NULL THEN NULL WHEN n %% 50 = 0 THEN 'error' ELSE 'client_left' END,
       20 + n * 37 %% 61, md5(n::text),
       CASE WHEN n %% 100 = 0 THEN 'partial' WHEN until IS NOT NULL THEN 'complete' END
FROM (SELECT n, began AS at, CASE WHEN n > %(active)s
             THEN began + (300 + n * 7919 %% 3300) * interval '1 second' END AS until
      FROM generate_series(1::bigint, %(sessions)s) AS n,
           LATERAL (SELECT now() - n * interval '{DAYS} days' / %(sessions)s) AS b (began)
     ) AS numbered
JOIN (SELECT id, identity, row_number() OVER () - 1 AS place FROM users WHERE role = 'client') AS c
    ON c.place = n * 7919 %% {CLIENTS}
JOIN (SELECT id, row_number() OVER () - 1 AS place FROM users WHERE role = 'coach') AS k
    ON k.place = n * 7919 %% {CLIENTS} %% {COACHES}
"""
_SENTENCES = """
CREATE TEMPORARY TABLE sentences AS
SELECT s, (SELECT string_agg('word' || (x.w * 31 + s * 17 + x.w * s) % 3000, ' ')
           FROM generate_series(1, 9) AS x (w)) AS said
FROM generate_series(0, 999) AS s
"""
_TURNS = """
INSERT INTO turns (id, session_id, seq, item_id, role, speaker_identity, user_id, text,
    interrupted, confidence, language, started_at, ended_at, recorded_at, source, metrics)
SELECT uuidv7(at - now()), session, seq, 'item_' || seq,
       CASE WHEN spoken THEN 'client' ELSE 'ai' END,
       CASE WHEN spoken THEN identity END, CASE WHEN spoken THEN person END,
       said || ' tail' || (number * 100 + seq) * 7919 %% 400000, seq %% 10 = 0,
       CASE WHEN spoken THEN 0.9 END, 'en', at, at + interval '4 seconds',
       at + interval '5 seconds', 'voice', '{"e2e_latency": 0.8}'
FROM (SELECT s.id AS session, s.client_identity AS identity, s.user_id AS person, number, seq,
             seq %% 2 = 1 AS spoken, s.started_at + seq * interval '6 seconds' AS at
      FROM sessions s, CAST(substr(s.room_name, 6) AS bigint) AS number,
           generate_series(1, s.turn_count) AS seq
      WHERE number > %(first)s AND number <= %(last)s) AS numbered
JOIN sentences a ON a.s = (number * 13 + seq * 29) %% 1000
"""
_RARE = f"""
UPDATE turns SET text = text || ' {RARE}' WHERE id IN (
    SELECT DISTINCT ON (t.session_id) t.id FROM turns t JOIN sessions s ON s.id = t.session_id
    WHERE s.status = 'completed' AND s.room_name IN (
        'room ' || %(sessions)s / 2 + 1, 'room ' || %(sessions)s / 4 + 1,
        'room ' || %(sessions)s / 5 + 1))
"""


def fill(url: str, sessions: int, report: Report) -> None:
    """Fill the migrated, empty database at `url`; half an hour for 200,000 sessions is much."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("SET maintenance_work_mem = '1GB'")
        db.execute("SET synchronous_commit = off")
        db.execute("SET session_replication_role = replica")  # neither checks nor notifications
        values = {"sessions": sessions, "active": min(ACTIVE, sessions // 10)}
        report(f"{sessions} sessions")
        db.execute(_PEOPLE)
        db.execute(_SESSIONS, values)
        db.execute(_SENTENCES)
        db.execute("ANALYZE sentences")
        with _unindexed(db, "turns", report):
            for first in range(0, sessions, A_BATCH):
                report(f"turns of sessions from {first}")
                db.execute(_TURNS, {"first": first, "last": first + A_BATCH})
        db.execute(_RARE, values)
        db.execute("ANALYZE")
        with _unindexed(db, "session_search", report, keep_primary=True):
            asyncio.run(_gather(url, report))
        report("vacuum")
        db.execute("VACUUM ANALYZE")
        db.execute("CHECKPOINT")


async def _gather(url: str, report: Report) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        await db.execute("SET synchronous_commit = off")
        await db.execute("SET work_mem = '256MB'")
        done = 0
        while gathered := await search.gather(db, limit=GATHERED_AT_ONCE):
            done += gathered
            report(f"words of {done} sessions")


@contextmanager
def _unindexed(
    db: psycopg.Connection, table: str, report: Report, *, keep_primary: bool = False
) -> Iterator[None]:
    """Take the indexes of `table` away for the block's time."""
    constraints = db.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = %s::regclass AND contype = ANY(%s)",
        [table, ["u"] if keep_primary else ["u", "p"]],
    ).fetchall()
    for name, _ in constraints:
        db.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())
    indexes = db.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
        " WHERE indrelid = %s::regclass AND NOT indisprimary",
        [table],
    ).fetchall()
    for name, _ in indexes:
        db.execute(f"DROP INDEX {name}".encode())
    yield
    for name, definition in constraints:
        report(f"index {name}")
        db.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}".encode())
    for name, definition in indexes:
        report(f"index {name}")
        db.execute(definition.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a database with many sessions.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    asked = parser.parse_args()
    screen = Console(stderr=True)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    signal.signal(signal.SIGINT, lambda *_: stopped.set())
    os.umask(0o077)
    asked.folder.mkdir(parents=True, exist_ok=True)
    with stand.database(asked.folder) as url:
        fill(url, asked.sessions, screen.print)
        screen.print("filled; it is at")
        Console().print(url, soft_wrap=True)
        stopped.wait()


if __name__ == "__main__":
    main()
