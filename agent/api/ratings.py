"""A client rates a session of theirs, once."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path
from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from agent.api.auth import Db, Scope, needs
from agent.api.errors import ApiError, documented
from agent.api.shapes import Shape, example, storable
from persistence import ratings, transcripts
from persistence.keys import Key
from persistence.viewers import Reach, Viewer

router = APIRouter(prefix="/api/sessions", tags=["sessions"])

COMMENT_LENGTH = 2000

_EXAMPLE: JsonValue = {"rating": 4, "comment": "I know what to try next."}


class GivenRating(Shape):
    rating: int = Field(ge=1, le=5, strict=True)
    comment: (
        Annotated[
            str,
            StringConstraints(strip_whitespace=True, min_length=1, max_length=COMMENT_LENGTH),
            AfterValidator(storable),
        ]
        | None
    ) = None

    model_config = example(_EXAMPLE)


@router.post(
    "/{sessionId}/rating",
    status_code=201,
    response_model_exclude_none=True,
    responses=documented(400, 401, 403, 404, 409, 413, 503),
)
async def rate_session(
    db: Db,
    client: Annotated[Key, Depends(needs(Scope.CLIENT))],
    session_id: Annotated[UUID, Path(alias="sessionId")],
    given: GivenRating,
) -> GivenRating:
    """Rate one of the caller's own sessions."""
    own = Viewer(Reach.OWN, client.user_id, client.identity)
    if await transcripts.session(db, session_id, own) is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "there is no such session of yours")
    if not await ratings.give(db, session_id, given.rating, given.comment):
        raise ApiError(HTTPStatus.CONFLICT, "this session is rated already")
    return given
