"""Sessions and what was said in them, for the people who run this installation."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import AfterValidator, Field

from agent.api import messages
from agent.api.auth import Scope, needs
from agent.api.errors import ApiError, documented
from agent.api.resources import Db
from agent.api.shapes import (
    MAX_PAGE_SIZE,
    PAGE_SIZE,
    GivenTime,
    QueryText,
    SessionStatus,
    Shape,
    checked_cursor,
    cursor_of,
    position_of,
)
from persistence import transcripts
from persistence.transcripts import Filters, Position, SessionRow

router = APIRouter(
    prefix="/api/admin/transcripts",
    tags=["transcripts"],
    dependencies=[Depends(needs(Scope.ADMIN))],
)


class Wanted(Shape):
    """The list's query parameters."""

    client: QueryText | None = Field(None, description="A user's id or identity.")
    coach: QueryText | None = Field(None, description="A user's id or identity.")
    status: SessionStatus | None = None
    since: GivenTime | None = Field(None, alias="from", description="Started then or later.")
    until: GivenTime | None = Field(None, alias="to", description="Started before then.")
    text: QueryText | None = Field(None, description="Somewhere in what was said, any case.")
    limit: int = Field(PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE)
    cursor: Annotated[str, Field(max_length=200), AfterValidator(checked_cursor)] | None = Field(
        None, description="As the Link header of the page before has it."
    )


_PAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Sessions, newest first.",
        "headers": {
            "Link": {
                "description": 'The next page, `<…>; rel="next"`; absent on the last one.',
                "schema": {"type": "string"},
            }
        },
    }
}


@router.get("", response_model_exclude_none=True, responses=_PAGE | documented(400, 401, 403, 503))
async def list_sessions(
    request: Request, response: Response, db: Db, wanted: Annotated[Wanted, Query()]
) -> list[messages.Session]:
    """List sessions, newest first."""
    filters = Filters(
        wanted.client, wanted.coach, wanted.status, wanted.since, wanted.until, wanted.text
    )
    after = position_of(wanted.cursor) if wanted.cursor else None
    rows = await transcripts.page(db, filters, limit=wanted.limit + 1, after=after)
    if len(rows) > wanted.limit:
        response.headers["Link"] = _link_behind(request, rows[wanted.limit - 1])
    return [messages.session(row) for row in rows[: wanted.limit]]


def _link_behind(request: Request, last: SessionRow) -> str:
    cursor = cursor_of(Position(last.started_at, last.id))
    return f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'


@router.get(
    "/{sessionId}",
    response_model_exclude_none=True,
    responses=documented(400, 401, 403, 404, 503),
)
async def show_session(
    db: Db, session_id: Annotated[UUID, Path(alias="sessionId")]
) -> messages.Transcript:
    """Give one session with everything that was said in it."""
    row, turns = await transcripts.whole(db, session_id)
    if row is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "there is no such session")
    return messages.transcript(row, turns)
