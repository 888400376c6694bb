"""What outside systems report of their own synchronisations; health and metrics show the last."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import AfterValidator, Field, JsonValue

from agent.api.auth import Db, Scope, needs
from agent.api.errors import documented
from agent.api.shapes import GivenTime, QueryText, Shape, Whole, YesNo, example, of_the_past
from persistence import sync_runs
from persistence.sync_runs import SyncRun

router = APIRouter(prefix="/api/internal/sync-runs", tags=["internal"])

MOST_MEMBERS = 2**31 - 1

_EXAMPLE: JsonValue = {
    "system": "skool",
    "finishedAt": "2026-11-21T03:00:00Z",
    "success": True,
    "membersFound": 340,
    "newMembers": 2,
}
Members = Annotated[Whole, Field(ge=0, le=MOST_MEMBERS)]


class ReportedRun(Shape):
    system: Literal["skool"] = "skool"
    finished_at: Annotated[GivenTime, AfterValidator(of_the_past)]
    success: YesNo
    error: QueryText | None = Field(None, description="What went wrong, in a few words.")
    members_found: Members | None = None
    new_members: Members | None = None

    model_config = example(_EXAMPLE)


@router.post(
    "",
    status_code=201,
    dependencies=[Depends(needs(Scope.INTERNAL))],
    responses=documented(400, 401, 403, 413, 503),
)
async def report_run(db: Db, run: ReportedRun) -> ReportedRun:
    """Take note of a run; the same one told twice is one."""
    told = SyncRun(run.finished_at, run.success, run.error, run.members_found, run.new_members)
    await sync_runs.record(db, run.system, told)
    return run
