"""What is known of the system's health: leases, and recorded checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from persistence.ids import new_id

Connection = AsyncConnection[Any]

KEPT_DAYS = 31


@dataclass(frozen=True, slots=True)
class Check:
    service: str
    status: str
    latency_ms: float | None
    checked_at: datetime


@dataclass(frozen=True, slots=True)
class Workers:
    alive: int
    lost: int
    """Leases that ran out without a stop and still have sessions to end."""


@dataclass(frozen=True, slots=True)
class Day:
    mostly_down: bool
    """Whether one of the services was down in more than half of its checks."""
    ever_unhealthy: bool


async def ping(db: Connection) -> None:
    """Make Postgres answer."""
    await db.execute("SELECT 1")


async def workers(db: Connection) -> Workers:
    """Return how many workers hold a lease, by Postgres's clock, and how many were lost."""
    query = """
        SELECT count(*) FILTER (WHERE expires_at > now()) AS alive,
               count(*) FILTER (WHERE expires_at <= now() AND EXISTS (
                   SELECT 1 FROM sessions s
                   WHERE s.worker_id = l.worker_id AND s.status = 'active')) AS lost
        FROM worker_leases l WHERE stopped_at IS NULL
    """
    async with db.cursor(row_factory=class_row(Workers)) as cursor:
        found = await (await cursor.execute(query)).fetchone()
    return found or Workers(alive=0, lost=0)


async def record(db: Connection, checks: Iterable[Check]) -> None:
    """Keep the checks, and drop those that are older than the history reaches."""
    query = """
        INSERT INTO health_checks (id, service, status, latency_ms, checked_at)
        VALUES (%s, %s, %s, %s, %s)
    """
    rows = [(new_id(), c.service, c.status, c.latency_ms, c.checked_at) for c in checks]
    async with db.transaction(), db.cursor() as cursor:
        await cursor.executemany(query, rows)
        await cursor.execute(
            "DELETE FROM health_checks WHERE checked_at < now() - %s * interval '1 day'",
            (KEPT_DAYS,),
        )


async def days(db: Connection, services: list[str], since: date) -> dict[date, Day]:
    """Return what was recorded of `services` per day (UTC), from `since` on."""
    query = """
        SELECT day, bool_or(down * 2 > checks), bool_or(unhealthy > 0) FROM (
            SELECT (checked_at AT TIME ZONE 'UTC')::date AS day, service, count(*) AS checks,
                   count(*) FILTER (WHERE status <> 'healthy') AS unhealthy,
                   count(*) FILTER (WHERE status = 'down') AS down
            FROM health_checks
            WHERE service = ANY(%s) AND checked_at >= %s::date::timestamp AT TIME ZONE 'UTC'
            GROUP BY 1, 2) AS by_service
        GROUP BY day
    """
    rows = await (await db.execute(query, (services, since))).fetchall()
    return {day: Day(mostly_down, ever_unhealthy) for day, mostly_down, ever_unhealthy in rows}
