"""Sessions and what was said in them, for whoever may read them.

Administrators read all, coaches those of their clients, clients their own. What somebody may not
read is not there for them.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field

from agent.api import messages, paging, unchanged
from agent.api.auth import Db, Scope, needs
from agent.api.edge import request_id
from agent.api.errors import ApiError, documented
from agent.api.exports import EXPORTS
from agent.api.messages import Transcript
from agent.api.paging import Paged
from agent.api.resources import Connection
from agent.api.shapes import Completeness, GivenTime, QueryText, SessionStatus
from persistence import listing, reads, search, transcripts
from persistence.keys import Key
from persistence.listing import Filters
from persistence.paging import Position
from persistence.reads import Reading
from persistence.transcripts import SessionRow
from persistence.viewers import EVERYTHING, Reach, Viewer

router = APIRouter(prefix="/api/admin/transcripts", tags=["transcripts"])

Reader = Annotated[Key, Depends(needs(Scope.ADMIN, Scope.COACH, Scope.CLIENT))]


class Wanted(Paged):
    """The list's query parameters."""

    client: QueryText | None = Field(None, description="A user's id or identity.")
    coach: QueryText | None = Field(None, description="A user's id or identity.")
    status: SessionStatus | None = None
    completeness: Completeness | None = None
    since: GivenTime | None = Field(None, alias="from", description="Started then or later.")
    until: GivenTime | None = Field(None, alias="to", description="Started before then.")
    text: QueryText | None = Field(
        None, description="Words that were all said in the session, in any case."
    )

    @property
    def filters(self) -> Filters:
        return Filters(
            client=self.client,
            coach=self.coach,
            status=self.status,
            completeness=self.completeness,
            since=self.since,
            until=self.until,
            text=self.text,
        )


def viewer_of(reader: Key) -> Viewer:
    """Return how far a key lets its holder see: by the widest of its scopes."""
    if Scope.ADMIN in reader.scopes:
        return EVERYTHING
    reach = Reach.CLIENTS if Scope.COACH in reader.scopes else Reach.OWN
    return Viewer(reach, reader.user_id, reader.identity)


@router.get(
    "",
    response_model_exclude_none=True,
    responses=paging.described("Sessions") | documented(400, 401, 403, 503),
)
async def list_sessions(
    request: Request, response: Response, db: Db, reader: Reader, wanted: Annotated[Wanted, Query()]
) -> list[messages.Session]:
    """List sessions, newest first; of a search, where in them the words were said."""
    rows = await listing.page(
        db,
        wanted.filters,
        limit=wanted.one_more,
        after=wanted.after,
        viewer=viewer_of(reader),
    )
    places = [Position(row.started_at, row.id) for row in rows]
    shown = paging.cut(request, response, wanted, rows, places)
    if wanted.text is None:
        return [messages.session(row) for row in shown]
    return await _with_hits(db, reader, shown, wanted.text)


async def _with_hits(
    db: Connection, reader: Key, rows: list[SessionRow], text: str
) -> list[messages.Session]:
    """Return the sessions with what was said where the words are, and note that it was read."""
    found = await search.hits(db, [row.id for row in rows], text)
    await reads.note(db, list(found), reader, "excerpts", request_id())
    return [messages.session(row, found.get(row.id, [])) for row in rows]


_UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "It is what the caller has, by If-None-Match."}
}


@router.get(
    "/{sessionId}",
    response_model=Transcript,
    response_model_exclude_none=True,
    responses=_UNCHANGED | documented(400, 401, 403, 404, 503),
)
async def show_session(
    request: Request, db: Db, reader: Reader, session_id: Annotated[UUID, Path(alias="sessionId")]
) -> Response:
    """Give one session with everything that was said in it."""
    transcript = await _read(db, reader, session_id, "transcript")
    return unchanged.answer(
        request, transcript.model_dump_json(exclude_none=True).encode(), "application/json"
    )


_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {
            export.media_type.partition(";")[0]: {"schema": {"type": "string"}}
            for export in EXPORTS.values()
        }
        | {"application/json": {"schema": {"$ref": "#/components/schemas/Transcript"}}},
    }
}


@router.get(
    "/{sessionId}/export",
    response_class=Response,
    responses=_FILE | _UNCHANGED | documented(400, 401, 403, 404, 503),
)
async def export_session(
    request: Request,
    db: Db,
    reader: Reader,
    session_id: Annotated[UUID, Path(alias="sessionId")],
    wanted: Annotated[Literal["json", "md", "vtt", "txt"], Query(alias="format")] = "json",
) -> Response:
    """Give one session as a file to keep."""
    transcript = await _read(db, reader, session_id, "export")
    export = EXPORTS[wanted]
    named = {"Content-Disposition": f'attachment; filename="session-{session_id}.{wanted}"'}
    return unchanged.answer(request, export.render(transcript).encode(), export.media_type, named)


async def _read(db: Connection, reader: Key, session_id: UUID, what: str) -> Transcript:
    """Return a transcript that `reader` may read, and note that they did; raises 404."""
    reading = Reading(reader, what, request_id())
    found = await transcripts.whole(db, session_id, viewer_of(reader), reading)
    if found is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "there is no such session")
    return messages.transcript(*found)
