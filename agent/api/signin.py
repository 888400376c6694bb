"""Signing in with a key, for browsers: it is kept in a cookie that no script can read.

What changes something also wants a token that another site's page cannot know, since a browser
sends cookies by itself. The token is derived from the key: there is nothing to store or to expire.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field, JsonValue

from agent.api.auth import (
    COOKIE,
    Scope,
    csrf_token,
    known_caller,
    needs,
    require_csrf_token,
    scopes_of,
)
from agent.api.errors import ApiError, documented
from agent.api.resources import The
from agent.api.shapes import Shape, Time, example
from agent.settings import Settings
from persistence.keys import Key

router = APIRouter(prefix="/api", tags=["sign-in"])

LONGEST_SECONDS = 30 * 24 * 3600
"""How long a browser stays signed in with a key that does not expire before."""

_ME: JsonValue = {
    "userId": "01934d3a-0000-7000-8000-000000000001",
    "identity": "client-ada",
    "name": "Ada",
    "scopes": ["client"],
    "rooms": ["demo"],
    "csrfToken": "nqTqW1…",
}


class Credentials(Shape):
    key: str = Field(min_length=1, max_length=200)

    model_config = example({"key": "vck_…"})


class Me(Shape):
    """Whose key it is, and what they may do."""

    user_id: UUID | None = Field(description="Null for a key of no user.")
    identity: str | None
    name: str | None
    scopes: list[Scope]
    rooms: list[str] | None = Field(description="The rooms of this key; null for any.")
    expires_at: Time | None = None
    csrf_token: str = Field(description="For the header X-CSRF-Token, beside a cookie.")

    model_config = example(_ME)


@router.post("/sign-in", responses=documented(400, 401, 413, 503))
async def sign_in(request: Request, response: Response, resources: The, given: Credentials) -> Me:
    """Sign this browser in."""
    caller = await known_caller(request, resources, given.key)
    if caller is None:
        raise ApiError(HTTPStatus.UNAUTHORIZED, "this key is unknown, expired or revoked")
    response.set_cookie(
        COOKIE,
        given.key,
        max_age=_seconds_left(caller),
        httponly=True,
        samesite="strict",
        secure=_is_encrypted(request, resources.settings),
    )
    return _me(caller, given.key)


@router.get("/me", responses=documented(401, 403, 503))
async def show_me(request: Request, caller: Annotated[Key, Depends(needs(*Scope))]) -> Me:
    """Say whose key came with the request."""
    return _me(caller, request.state.key)


@router.post("/sign-out", status_code=204, responses=documented(401, 403))
async def sign_out(request: Request, response: Response) -> None:
    """Sign this browser out, if one is signed in; another site's page cannot.

    Whether the key still holds does not matter: who has it may forget it. The browser forgets what
    it kept of what was read, too: whoever uses it next may be somebody else.
    """
    if key := request.cookies.get(COOKIE):
        require_csrf_token(request, key)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        response.headers["Clear-Site-Data"] = '"cache"'


def _me(caller: Key, key: str) -> Me:
    return Me(
        user_id=caller.user_id,
        identity=caller.identity,
        name=caller.display_name,
        scopes=scopes_of(caller),
        rooms=caller.rooms,
        expires_at=caller.expires_at,
        csrf_token=csrf_token(key),
    )


def _is_encrypted(request: Request, settings: Settings) -> bool:
    """Return whether browsers come by HTTPS: as the request says, or the setting of where to."""
    public = settings.api_public_url or ""
    return request.scope["scheme"] == "https" or public.startswith("https:")


def _seconds_left(caller: Key) -> int:
    if caller.expires_at is None:
        return LONGEST_SECONDS
    return max(0, min(LONGEST_SECONDS, int(caller.expires_at.timestamp() - time.time())))
