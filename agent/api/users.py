"""The people of this installation, for those who run it."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field, JsonValue

from agent.api import paging
from agent.api.auth import Db, Scope, needs
from agent.api.errors import documented
from agent.api.paging import Paged
from agent.api.shapes import Shape, Time, example
from persistence import transcripts, users
from persistence.paging import Position
from persistence.users import CoachRow, UserRow

router = APIRouter(prefix="/api/admin", tags=["people"], dependencies=[Depends(needs(Scope.ADMIN))])

_USER: dict[str, JsonValue] = {
    "id": "01934d3a-0000-7000-8000-000000000001",
    "email": "ada@example.org",
    "name": "Ada",
    "role": "client",
    "createdAt": "2026-01-02T08:00:00.000Z",
    "lastSeen": "2026-11-21T09:31:30.000Z",
    "totalSessions": 12,
    "totalMinutes": 371,
}
_COACH: dict[str, JsonValue] = {
    **_USER,
    "email": "carl@example.org",
    "name": "Carl",
    "role": "coach",
    "clientCount": 7,
    "weeklyHours": 12.5,
    "isAvailable": True,
    "coachLevel": "senior",
}


class User(Shape):
    id: UUID
    email: str | None
    name: str = Field(description="Else the e-mail's local part, else the identity.")
    role: Literal["client", "coach", "admin"]
    created_at: Time
    last_seen: Time = Field(description="In a session or with a key; else `createdAt`.")
    total_sessions: int
    total_minutes: int = Field(description="Of completed sessions, halves up.")

    model_config = example(_USER)


class Coach(User):
    client_count: int = Field(description="People with a session or an appointment with them.")
    weekly_hours: float = Field(description="Completed since Sunday, UTC; one decimal.")
    is_available: bool
    coach_level: str | None

    model_config = example(_COACH)


_ERRORS = documented(400, 401, 403, 503)


@router.get("/users", responses=paging.described("Users of every role") | _ERRORS)
async def list_users(
    request: Request, response: Response, db: Db, paged: Annotated[Paged, Query()]
) -> list[User]:
    """List the users, newest first."""
    rows = await users.page(db, limit=paged.one_more, after=paged.after)
    page = paging.cut(request, response, paged, rows, _places(rows))
    return [User(**_fields(row)) for row in page]


@router.get("/coaches", responses=paging.described("Coaches") | _ERRORS)
async def list_coaches(
    request: Request, response: Response, db: Db, paged: Annotated[Paged, Query()]
) -> list[Coach]:
    """List the coaches with how much they coach, newest first."""
    rows = await users.coaches(db, limit=paged.one_more, after=paged.after)
    page = paging.cut(request, response, paged, rows, _places(rows))
    return [_coach(row) for row in page]


def _places(rows: list[UserRow] | list[CoachRow]) -> list[Position]:
    return [Position(row.created_at, row.id) for row in rows]


def _fields(row: UserRow) -> dict[str, object]:
    return {
        "id": row.id,
        "email": row.email,
        "name": transcripts.name_of(row.display_name, row.email, row.identity) or "",
        "role": row.role,
        "created_at": row.created_at,
        "last_seen": row.last_seen or row.created_at,
        "total_sessions": row.total_sessions,
        "total_minutes": transcripts.whole_minutes(row.total_seconds),
    }


def _coach(row: CoachRow) -> Coach:
    return Coach(
        **_fields(row),
        client_count=row.client_count,
        weekly_hours=round(row.week_seconds / 3600, 1),
        is_available=row.is_available,
        coach_level=row.coach_level,
    )
