"""A running session, as it goes on: server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Request, Response

from agent.api.auth import Scope
from agent.api.edge import request_id
from agent.api.errors import ApiError, documented
from agent.api.event_stream import EventStream
from agent.api.following import NoPlaceError
from agent.api.limits import site_of
from agent.api.resources import The, connection
from agent.api.transcripts import Reader, viewer_of
from persistence import reads, transcripts

router = APIRouter(prefix="/api/admin/transcripts", tags=["transcripts"])

_SAID_OR_END = [{"$ref": f"#/components/schemas/{name}"} for name in ("Message", "Session")]
_EVENT = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"enum": ["turn", "end"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"anyOf": _SAID_OR_END},
        },
    },
}

AT_ONCE = 20
AT_ONCE_BY_ADMINISTRATORS = 1000
"""Streams that one key may hold open, in one process."""
AT_ONCE_FROM_AN_ADDRESS = 1000
"""The same, with however many keys."""
RETRY_SECONDS = 30

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `turn`, each with a message, and at last `end`, with the session.",
        "content": {"text/event-stream": {"itemSchema": _EVENT}},
    }
}


async def _place(request: Request, resources: The, reader: Reader) -> AsyncIterator[None]:
    """Hold one of the reader's places until the stream has ended; raises 429 if none is left."""
    most = AT_ONCE_BY_ADMINISTRATORS if Scope.ADMIN in reader.scopes else AT_ONCE
    site = site_of(request.client.host if request.client else "")
    take = resources.following.place
    try:
        with take(f"key {reader.id}", most), take(f"address {site}", AT_ONCE_FROM_AN_ADDRESS):
            yield
    except NoPlaceError:
        details = f"at most {most} streams at once for each key, and some more for an address"
        headers = {"Retry-After": str(RETRY_SECONDS)}
        raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, details, headers) from None


async def _followed(
    resources: The, reader: Reader, session_id: Annotated[UUID, Path(alias="sessionId")]
) -> UUID:
    """Return the session to follow, and note that `reader` does; raises 404.

    The connection goes back to the pool before the first event: a follower stays for long.
    """
    async with connection(resources) as db:
        if await transcripts.session(db, session_id, viewer_of(reader)) is None:
            raise ApiError(HTTPStatus.NOT_FOUND, "there is no such session")
        await reads.note(db, [session_id], reader, "events", request_id())
    return session_id


@router.get(
    "/{sessionId}/events",
    response_class=Response,
    dependencies=[Depends(_place)],
    responses=_STREAM | documented(400, 401, 403, 404, 503),
)
async def follow_session(
    resources: The,
    reader: Reader,
    session_id: Annotated[UUID, Depends(_followed)],
    last_event_id: Annotated[
        str | None, Header(max_length=64, description="Go on behind this event.")
    ] = None,
) -> EventStream:
    """Follow a session: what was said so far, each turn as it lands, and the end."""
    return EventStream(resources.following.watch(session_id, reader.id, last_event_id))
