"""Workers and jobs as they are: what nobody knows of one is null, and nothing is made up."""

from __future__ import annotations

import os
import time
from typing import Literal

import psutil
from fastapi import APIRouter, Depends
from pydantic import Field, JsonValue

from agent.api.auth import Db, Scope, needs
from agent.api.errors import documented
from agent.api.resources import The
from agent.api.shapes import Shape, example
from persistence import processes

router = APIRouter(prefix="/api/admin/processes", tags=["health"])

_EXAMPLE: JsonValue = {
    "name": "worker coach-1",
    "pm_id": 4711,
    "status": "online",
    "memory": 734003200,
    "cpu": 12.5,
    "uptime": 86400.5,
}


class Process(Shape):
    name: str
    pm_id: int = Field(alias="pm_id", description="Its number: the process id, for workers.")
    status: Literal["online", "stopped", "errored"]
    memory: int | None = Field(description="Bytes, with the processes that it started.")
    cpu: float | None = Field(description="Per cent of one core.")
    uptime: float | None = Field(description="Seconds; of one that ended, how long it lasted.")

    model_config = example(_EXAMPLE)


@router.get("", dependencies=[Depends(needs(Scope.ADMIN))], responses=documented(401, 403, 503))
async def list_processes(resources: The, db: Db) -> list[Process]:
    """List the process that answers, the workers and the runners of jobs."""
    rows = await processes.listed(db)
    return [
        _this_process(resources.started),
        *(
            Process(
                name=row.name,
                pm_id=row.number,
                status=row.status,
                memory=row.memory_bytes,
                cpu=row.cpu_percent,
                uptime=row.uptime_seconds,
            )
            for row in rows
        ),
    ]


def _this_process(started: float) -> Process:
    this, uptime = psutil.Process(), time.monotonic() - started
    times = this.cpu_times()
    return Process(
        name="api",
        pm_id=os.getpid(),
        status="online",
        memory=this.memory_info().rss,
        cpu=round((times.user + times.system) / max(time.time() - this.create_time(), 1) * 100, 2),
        uptime=round(uptime, 1),
    )
