"""Sessions and what was said in them, for the people who run this installation."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field

from agent.api import messages, paging
from agent.api.auth import Scope, needs
from agent.api.errors import ApiError, documented
from agent.api.exports import EXPORTS
from agent.api.paging import Paged
from agent.api.resources import Db
from agent.api.shapes import GivenTime, QueryText, SessionStatus
from persistence import transcripts
from persistence.paging import Position
from persistence.transcripts import Filters

router = APIRouter(
    prefix="/api/admin/transcripts",
    tags=["transcripts"],
    dependencies=[Depends(needs(Scope.ADMIN))],
)


class Wanted(Paged):
    """The list's query parameters."""

    client: QueryText | None = Field(None, description="A user's id or identity.")
    coach: QueryText | None = Field(None, description="A user's id or identity.")
    status: SessionStatus | None = None
    since: GivenTime | None = Field(None, alias="from", description="Started then or later.")
    until: GivenTime | None = Field(None, alias="to", description="Started before then.")
    text: QueryText | None = Field(None, description="Somewhere in what was said, any case.")


@router.get(
    "",
    response_model_exclude_none=True,
    responses=paging.described("Sessions") | documented(400, 401, 403, 503),
)
async def list_sessions(
    request: Request, response: Response, db: Db, wanted: Annotated[Wanted, Query()]
) -> list[messages.Session]:
    """List sessions, newest first."""
    filters = Filters(
        wanted.client, wanted.coach, wanted.status, wanted.since, wanted.until, wanted.text
    )
    rows = await transcripts.page(db, filters, limit=wanted.one_more, after=wanted.after)
    places = [Position(row.started_at, row.id) for row in rows]
    return [messages.session(row) for row in paging.cut(request, response, wanted, rows, places)]


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


_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {
            export.media_type.partition(";")[0]: {"schema": {"type": "string"}}
            for export in EXPORTS.values()
        },
    }
}


@router.get(
    "/{sessionId}/export",
    response_class=Response,
    responses=_FILE | documented(400, 401, 403, 404, 503),
)
async def export_session(
    db: Db,
    session_id: Annotated[UUID, Path(alias="sessionId")],
    wanted: Annotated[Literal["json", "md", "vtt", "txt"], Query(alias="format")] = "json",
) -> Response:
    """Give one session as a file to keep."""
    transcript = await show_session(db, session_id)
    export = EXPORTS[wanted]
    disposition = f'attachment; filename="session-{session_id}.{wanted}"'
    return Response(
        export.render(transcript),
        media_type=export.media_type,
        headers={"Content-Disposition": disposition},
    )
