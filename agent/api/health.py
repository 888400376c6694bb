"""How the system is: measured when asked, and recorded every minute for the days before.

A check that cannot be recorded because Postgres is away is kept and recorded when it is back, so
that the history shows the outage.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import psutil
import structlog
from fastapi import APIRouter, Depends
from livekit.api import ListRoomsRequest
from pydantic import Field, JsonValue

from agent.api.auth import Scope, needs
from agent.api.errors import ApiError, documented
from agent.api.resources import Resources, The, connection, livekit_answers
from agent.api.shapes import Shape, Time, example
from persistence import health, sync_runs
from persistence.errors import PersistenceError
from persistence.health import Check

log = structlog.get_logger("coach.api")

router = APIRouter(prefix="/api/admin/health", tags=["health"])

Status = Literal["healthy", "degraded", "down"]

CHECK_EVERY_SECONDS = 60.0
CHECK_SECONDS = 3.0
CPU_SECONDS = 0.1
"""How long the processor's use is measured."""
HISTORY_DAYS = 30
HISTORY_SERVICES = ["API Server", "Database", "LiveKit"]
"""Those without which nobody is coached."""
SYNC_SYSTEM = "skool"
UNRECORDED_CHECKS = 5 * 24 * 60
"""A day of checks of five services is kept for Postgres to come back."""


class Cpu(Shape):
    usage: float = Field(description="Per cent of all cores.")
    cores: int


class Space(Shape):
    used: int = Field(description="Bytes.")
    total: int = Field(description="Bytes.")
    percentage: float


class Service(Shape):
    name: str
    status: Status
    latency: float | None = Field(description="Milliseconds; null where nothing was asked.")
    last_check: Time


class Uptime(Shape):
    days: int
    hours: int
    minutes: int


class Day(Shape):
    date: date
    status: Literal["healthy", "degraded", "down", "unknown"] = Field(
        description="down if a service was down in more than half of the day's checks, degraded "
        "if not all were healthy, unknown if nothing was recorded."
    )


_EXAMPLE: JsonValue = {
    "cpu": {"usage": 12.5, "cores": 2},
    "memory": {"used": 2147483648, "total": 8589934592, "percentage": 25.0},
    "disk": {"used": 21474836480, "total": 107374182400, "percentage": 20.0},
    "services": [
        {
            "name": "Database",
            "status": "healthy",
            "latency": 0.8,
            "lastCheck": "2026-11-21T09:00:00.000Z",
        }
    ],
    "uptime": {"days": 3, "hours": 4, "minutes": 5},
    "uptimeHistory": [{"date": "2026-11-21", "status": "healthy"}],
}


class Health(Shape):
    cpu: Cpu
    memory: Space
    disk: Space
    services: list[Service]
    uptime: Uptime = Field(description="Of the process that answers.")
    uptime_history: list[Day] = Field(description="The last 30 days in UTC, today last.")

    model_config = example(_EXAMPLE)


@router.get("", dependencies=[Depends(needs(Scope.ADMIN))], responses=documented(401, 403, 503))
async def show_health(resources: The) -> Health:
    """Say how the system is, down to what cannot be reached."""
    usage, checks, history = await asyncio.gather(
        asyncio.to_thread(psutil.cpu_percent, CPU_SECONDS),
        check_all(resources),
        _history(resources),
    )
    memory, disk = psutil.virtual_memory(), psutil.disk_usage("/")
    return Health(
        cpu=Cpu(usage=usage, cores=psutil.cpu_count() or 1),
        memory=Space(
            used=memory.total - memory.available, total=memory.total, percentage=memory.percent
        ),
        disk=Space(used=disk.used, total=disk.total, percentage=disk.percent),
        services=[
            Service(name=c.service, status=c.status, latency=c.latency_ms, last_check=c.checked_at)
            for c in checks
        ],
        uptime=_uptime(time.monotonic() - resources.started),
        uptime_history=history,
    )


def _uptime(seconds: float) -> Uptime:
    minutes = int(seconds // 60)
    return Uptime(days=minutes // 1440, hours=minutes // 60 % 24, minutes=minutes % 60)


async def check_all(resources: Resources) -> list[Check]:
    """Ask every service how it is, all at once."""
    checks = {
        "API Server": _api,
        "Database": _database,
        "LiveKit": _livekit,
        "Workers": _workers,
        "Skool Sync": _skool,
    }
    return await asyncio.gather(*(_check(resources, *check) for check in checks.items()))


async def _check(
    resources: Resources, service: str, ask: Callable[[Resources], Awaitable[Status]]
) -> Check:
    checked_at, began = datetime.now(UTC), time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            status = await ask(resources)
    except (PersistenceError, ApiError, TimeoutError):
        return Check(service, "down", None, checked_at)
    except Exception as error:  # noqa: BLE001 the other services are recorded all the same
        log.warning("check_failed", service=service, error_type=type(error).__name__)
        return Check(service, "down", None, checked_at)
    return Check(service, status, round((time.perf_counter() - began) * 1000, 2), checked_at)


async def _api(_: Resources) -> Status:
    await asyncio.sleep(0)  # its latency is how long the event loop lets others wait
    return "healthy"


async def _database(resources: Resources) -> Status:
    async with connection(resources) as db:
        await health.ping(db)
    return "healthy"


async def _livekit(resources: Resources) -> Status:
    async with livekit_answers():
        await resources.livekit.room.list_rooms(ListRoomsRequest(names=["-"]))
    return "healthy"


async def _workers(resources: Resources) -> Status:
    async with connection(resources) as db:
        found = await health.workers(db)
    if not found.alive:
        return "down"
    return "degraded" if found.lost else "healthy"


async def _skool(resources: Resources) -> Status:
    """Judge by the last reported run; an installation that has no such system is degraded."""
    async with connection(resources) as db:
        last = await sync_runs.last(db, SYNC_SYSTEM)
    if last is None:
        return "degraded"
    return "healthy" if last.success else "down"


async def _history(resources: Resources) -> list[Day]:
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in reversed(range(HISTORY_DAYS))]
    try:
        async with asyncio.timeout(CHECK_SECONDS), connection(resources) as db:
            recorded = await health.days(db, HISTORY_SERVICES, days[0])
    except (PersistenceError, TimeoutError):
        recorded = {}
    return [Day(date=day, status=_day_status(recorded.get(day))) for day in days]


def _day_status(
    recorded: health.Day | None,
) -> Literal["healthy", "degraded", "down", "unknown"]:
    if recorded is None:
        return "unknown"
    if recorded.mostly_down:
        return "down"
    return "degraded" if recorded.ever_unhealthy else "healthy"


async def record_regularly(resources: Resources) -> None:
    """Check and record every minute, until cancelled."""
    unrecorded: deque[Check] = deque(maxlen=UNRECORDED_CHECKS)
    while True:
        unrecorded.extend(await check_all(resources))
        await _record(resources, unrecorded)
        await asyncio.sleep(CHECK_EVERY_SECONDS)


async def _record(resources: Resources, unrecorded: deque[Check]) -> None:
    try:
        async with connection(resources) as db:
            await health.record(db, unrecorded)
    except PersistenceError as error:
        log.warning("checks_unrecorded", kept=len(unrecorded), error_type=type(error).__name__)
    else:
        unrecorded.clear()
