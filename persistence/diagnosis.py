"""What an operator's check asks of Postgres: the server, the role, and the state of the records.

Nothing here reads what was said, or who said it; nothing is written.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import class_row

Connection = AsyncConnection[Any]
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Server:
    version_num: int
    """As 140000 for 14.0."""
    is_standby: bool
    is_read_only: bool
    connections: int
    """Taken, of all databases of the server."""
    max_connections: int
    """For ordinary roles: without those that are reserved."""


class Skew(NamedTuple):
    """How far Postgres's clock is ahead of this machine's; negative where it is behind."""

    seconds: float
    margin: float
    """Seconds that the question itself took: it is known no better."""


@dataclass(frozen=True, slots=True)
class Role:
    is_superuser: bool
    may_more: list[str]
    """What it may do that a worker does not need: attributes of the role, changing the schema."""
    tables_refused: list[str]
    """Tables that it may not read and write."""


class Count(NamedTuple):
    what: str
    times: int


@dataclass(frozen=True, slots=True)
class Workers:
    alive: int
    lapsed: int
    """Whose lease ran out without a stop within the last day."""


@dataclass(frozen=True, slots=True)
class Sessions:
    active: int
    without_worker: int
    """Of these, sessions whose worker has no live lease."""
    partial: int
    """Ended within the last day; likewise the others."""
    recovered: int
    reclaimed: int


@dataclass(frozen=True, slots=True)
class Jobs:
    failed: list[Count]
    """By task."""
    overdue: int
    """Due for so long that nobody seems to work on them."""


_RESERVED = "('superuser_reserved_connections', 'reserved_connections')"
_SERVER = f"""
    SELECT current_setting('server_version_num')::int AS version_num,
           pg_is_in_recovery() AS is_standby,
           current_setting('transaction_read_only')::bool AS is_read_only,
           (SELECT count(*) FROM pg_stat_activity WHERE usesysid IS NOT NULL) AS connections,
           current_setting('max_connections')::int
               - (SELECT sum(setting::int) FROM pg_settings WHERE name IN {_RESERVED})::int
               AS max_connections
"""  # noqa: S608 - a constant in a constant
_ROLE = """
    SELECT r.rolsuper AS is_superuser,
           array_remove(ARRAY[
               CASE WHEN r.rolsuper THEN 'superuser' END,
               CASE WHEN r.rolcreatedb THEN 'create databases' END,
               CASE WHEN r.rolcreaterole THEN 'create roles' END,
               CASE WHEN r.rolreplication THEN 'replicate' END,
               CASE WHEN has_schema_privilege(current_schema(), 'CREATE')
                   THEN 'create tables' END,
               CASE WHEN EXISTS (SELECT FROM pg_tables
                   WHERE schemaname = current_schema() AND tableowner = current_user)
                   THEN 'change tables' END], NULL) AS may_more,
           ARRAY(
               SELECT c.relname::text FROM pg_class c
               WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
                   AND c.relname <> 'alembic_version'
                   AND NOT (has_table_privilege(c.oid, 'SELECT')
                       AND has_table_privilege(c.oid, 'INSERT')
                       AND has_table_privilege(c.oid, 'UPDATE')
                       AND has_table_privilege(c.oid, 'DELETE'))
               ORDER BY c.relname) AS tables_refused
    FROM pg_roles r WHERE r.rolname = current_user
"""
_WORKERS = """
    SELECT count(*) FILTER (WHERE expires_at > now()) AS alive,
           count(*) FILTER (WHERE expires_at <= now() AND expires_at > now() - interval '1 day')
               AS lapsed
    FROM worker_leases WHERE stopped_at IS NULL
"""
_SESSIONS = """
    SELECT count(*) FILTER (WHERE s.status = 'active') AS active,
           count(*) FILTER (WHERE s.status = 'active' AND s.worker_id IS NOT NULL
               AND COALESCE(l.expires_at <= now(), true)) AS without_worker,
           count(*) FILTER (WHERE s.completeness = 'partial' AND s.reclaimed_at IS NULL)
               AS partial,
           count(*) FILTER (WHERE s.completeness = 'recovered') AS recovered,
           count(*) FILTER (WHERE s.reclaimed_at IS NOT NULL) AS reclaimed
    FROM sessions s LEFT JOIN worker_leases l ON l.worker_id = s.worker_id
    WHERE s.status = 'active' OR s.ended_at > now() - interval '1 day'
"""
_DEAD_LETTERS = """
    SELECT concat_ws(' ', kind, sqlstate, constraint_name), count(*)
    FROM dead_letters GROUP BY 1 ORDER BY 2 DESC, 1
"""
_FAILED = """
    SELECT task_name, count(*) FROM procrastinate_jobs WHERE status = 'failed'
    GROUP BY 1 ORDER BY 1
"""
_OVERDUE = """
    SELECT count(*) FROM procrastinate_jobs j WHERE status = 'todo'
        AND COALESCE(scheduled_at, (SELECT min(e.at) FROM procrastinate_events e
            WHERE e.job_id = j.id)) < now() - %s
"""


async def server(db: Connection) -> Server:
    async with db.cursor(row_factory=class_row(Server)) as cursor:
        return _the(await (await cursor.execute(_SERVER)).fetchone())


async def skew(db: Connection) -> Skew:
    """Ask Postgres for the time."""
    asked, began = time.time(), time.perf_counter()
    found = await db.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
    took = time.perf_counter() - began
    return Skew(_the(await found.fetchone())[0] - (asked + took / 2), took)


async def role(db: Connection) -> Role:
    async with db.cursor(row_factory=class_row(Role)) as cursor:
        return _the(await (await cursor.execute(_ROLE)).fetchone())


async def workers(db: Connection) -> Workers:
    async with db.cursor(row_factory=class_row(Workers)) as cursor:
        return _the(await (await cursor.execute(_WORKERS)).fetchone())


async def sessions(db: Connection) -> Sessions:
    async with db.cursor(row_factory=class_row(Sessions)) as cursor:
        return _the(await (await cursor.execute(_SESSIONS)).fetchone())


async def dead_letters(db: Connection) -> list[Count]:
    """Return how many there are, by kind, SQLSTATE and constraint."""
    return [Count(*row) for row in await (await db.execute(_DEAD_LETTERS)).fetchall()]


async def jobs(db: Connection, overdue_after: timedelta) -> Jobs:
    """Return the jobs that failed for good, and how many have been due for so long."""
    failed = [Count(*row) for row in await (await db.execute(_FAILED)).fetchall()]
    overdue = await (await db.execute(_OVERDUE, [overdue_after])).fetchone()
    return Jobs(failed, _the(overdue)[0])


def _the(row: Row | None) -> Row:
    assert row is not None  # noqa: S101 - each of these queries gives a row
    return row
