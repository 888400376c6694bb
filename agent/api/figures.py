"""How much goes on, for a dashboard: counted when asked, never made up."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Depends
from pydantic import Field, JsonValue

from agent.api import health
from agent.api.auth import Scope, needs
from agent.api.errors import documented
from agent.api.health import Status
from agent.api.resources import Resources, The, connection
from agent.api.shapes import Shape, Time, example
from persistence import figures, sync_runs
from persistence.figures import Figures
from persistence.health import Check
from persistence.sync_runs import SyncRun
from persistence.transcripts import whole_minutes

router = APIRouter(prefix="/api/admin/metrics", tags=["health"])


class Activity(Shape):
    """How many coaches did something within an hour, a day, a week, 30 days."""

    recent1h: int = Field(alias="recent1h")
    recent1d: int = Field(alias="recent1d")
    recent1w: int = Field(alias="recent1w")
    recent1m: int = Field(alias="recent1m")


class Minutes(Shape):
    """Whole minutes of sessions completed in this day, week (from Sunday) and month, in UTC."""

    today: int
    week: int
    month: int


class SyncStatus(Shape):
    last_run: Time | None
    success: bool
    error: str | None = Field(None, exclude_if=lambda error: error is None)
    members_found: int
    new_members: int


class SystemHealth(Shape):
    api: Status
    database: Status
    livekit: Status
    skool: Status


_EXAMPLE: JsonValue = {
    "totalUsers": 120,
    "activeUsers": 3,
    "activeRooms": 3,
    "totalCoaches": 8,
    "coachesByActivity": {"recent1h": 1, "recent1d": 4, "recent1w": 7, "recent1m": 8},
    "clientVoiceMinutes": {"today": 95, "week": 410, "month": 1820},
    "skoolSyncStatus": {
        "lastRun": "2026-11-21T03:00:00.000Z",
        "success": True,
        "membersFound": 340,
        "newMembers": 2,
    },
    "systemHealth": {
        "api": "healthy",
        "database": "healthy",
        "livekit": "healthy",
        "skool": "healthy",
    },
}


class Metrics(Shape):
    total_users: int
    active_users: int = Field(description="Distinct people in active sessions.")
    active_rooms: int = Field(description="Rooms with an active session.")
    total_coaches: int
    coaches_by_activity: Activity
    client_voice_minutes: Minutes
    skool_sync_status: SyncStatus
    system_health: SystemHealth

    model_config = example(_EXAMPLE)


@router.get(
    "",
    dependencies=[Depends(needs(Scope.ADMIN))],
    responses=documented(401, 403, 503),
)
async def show_metrics(resources: The) -> Metrics:
    """Say how much goes on."""
    (counted, last_sync), checks = await asyncio.gather(
        _counted(resources), health.check_all(resources)
    )
    return Metrics(
        total_users=counted.total_users,
        active_users=counted.active_users,
        active_rooms=counted.active_rooms,
        total_coaches=counted.total_coaches,
        coaches_by_activity=Activity(
            recent1h=counted.coaches_1h,
            recent1d=counted.coaches_1d,
            recent1w=counted.coaches_1w,
            recent1m=counted.coaches_1m,
        ),
        client_voice_minutes=Minutes(
            today=whole_minutes(counted.seconds_today),
            week=whole_minutes(counted.seconds_week),
            month=whole_minutes(counted.seconds_month),
        ),
        skool_sync_status=_sync_status(last_sync),
        system_health=_system_health(checks),
    )


def _system_health(checks: list[Check]) -> SystemHealth:
    statuses = {check.service: check.status for check in checks}
    return SystemHealth.model_validate(
        {
            "api": statuses["API Server"],
            "database": statuses["Database"],
            "livekit": statuses["LiveKit"],
            "skool": statuses["Skool Sync"],
        }
    )


async def _counted(resources: Resources) -> tuple[Figures, SyncRun | None]:
    async with connection(resources) as db:
        return await figures.figures(db), await sync_runs.last(db, health.SYNC_SYSTEM)


def _sync_status(run: SyncRun | None) -> SyncStatus:
    """Return the last run's outcome; a system that never reported has none to its credit."""
    if run is None:
        return SyncStatus(last_run=None, success=False, members_found=0, new_members=0)
    return SyncStatus(
        last_run=run.finished_at,
        success=run.success,
        error=run.error,
        members_found=run.members_found or 0,
        new_members=run.new_members or 0,
    )
