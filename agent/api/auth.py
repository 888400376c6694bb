"""Who calls, and what they may do: keys in one of three headers or a cookie, scopes on each route.

While Postgres is away, callers that it vouched for within the last five minutes stay known: health
can then say what is down, and a client can still get into a room.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from agent.api.errors import ApiError
from agent.api.resources import Connection, Resources, The, connection
from persistence import keys
from persistence.errors import DatabaseUnavailableError
from persistence.keys import Key

log = structlog.get_logger("coach.api")

REMEMBERED_SECONDS = 300.0
REMEMBERED_CALLERS = 1000
COOKIE = "coach_key"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Scope(StrEnum):
    ADMIN = "admin"
    COACH = "coach"
    CLIENT = "client"
    INTERNAL = "internal"


_bearer = HTTPBearer(
    scheme_name="Bearer", auto_error=False, description="A key from `coach keys create`."
)
_api_key = APIKeyHeader(
    name="X-API-Key", scheme_name="ApiKey", auto_error=False, description="The same key."
)
_internal_key = APIKeyHeader(
    name="X-Internal-Service-Key",
    scheme_name="InternalServiceKey",
    auto_error=False,
    description="The same key, of which only the scope `internal` counts.",
)


_cookie = APIKeyCookie(
    name=COOKIE,
    scheme_name="Cookie",
    auto_error=False,
    description="The same key, of a browser that signed in; what changes something also wants "
    "the header X-CSRF-Token, and what reads may have it.",
)
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


async def _caller(  # noqa: PLR0913, PLR0917 each is a place where a key may be
    request: Request,
    resources: The,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    api_key: Annotated[str | None, Security(_api_key)],
    internal_key: Annotated[str | None, Security(_internal_key)],
    cookie: Annotated[str | None, Security(_cookie)],
) -> Key:
    """Return whose key came with the request; raises 401 if it is nobody's, 429 if it tires."""
    whole = bearer.credentials if bearer else api_key
    sent = whole or internal_key
    key = sent or cookie or ""
    found = await known_caller(request, resources, key)
    if found is None:
        details = "this key is unknown, expired or revoked" if key else "this route needs a key"
        raise ApiError(HTTPStatus.UNAUTHORIZED, details, _CHALLENGE)
    if not sent:
        require_csrf_token(request, key)
    if internal_key and not whole:
        found = replace(found, scopes=[s for s in found.scopes if s == Scope.INTERNAL])
    request.state.key = key
    return found


async def known_caller(request: Request, resources: Resources, key: str) -> Key | None:
    """Return whose `key` it is, None if nobody's; raises 429 to who asks too often."""
    await resources.limits.count_address(request.client.host if request.client else "")
    found = await _known(resources, key)
    if found is not None:
        await resources.limits.count_key(str(found.id))
    return found


def scopes_of(caller: Key) -> list[Scope]:
    """Return what a caller may do; a scope that this version does not know allows nothing."""
    return [scope for scope in Scope if scope in caller.scopes]


def csrf_token(key: str) -> str:
    """Return the token that goes with a key's cookie: no other site can know it."""
    return hmac.new(key.encode(), b"voice-coach csrf", hashlib.sha256).hexdigest()


def require_csrf_token(request: Request, key: str) -> None:
    """Raise 403 if the request may change something and has no token, 401 if it has another's.

    That of a page whose browser has since been signed in as somebody else, in another tab: it would
    show theirs for its own.
    """
    given = request.headers.get("x-csrf-token")
    if given is None:
        if request.method not in SAFE_METHODS:
            raise ApiError(HTTPStatus.FORBIDDEN, "the header X-CSRF-Token is missing")
    elif not hmac.compare_digest(given.encode(), csrf_token(key).encode()):
        details = "the header X-CSRF-Token is not that of who is signed in"
        raise ApiError(HTTPStatus.UNAUTHORIZED, details, _CHALLENGE)


async def _known(resources: Resources, key: str) -> Key | None:
    try:
        async with connection(resources) as db:
            found = await keys.find(db, key)
            if found is not None and keys.use_is_due(found):
                await keys.note_use(db, found.id)
    except DatabaseUnavailableError:
        return _recall(resources, key)
    _remember(resources, key, found)
    return found


def _remember(resources: Resources, key: str, found: Key | None) -> None:
    digest = keys.hash_of(key)
    resources.remembered.pop(digest, None)
    if found is None:
        return
    resources.remembered[digest] = (found, time.monotonic())
    while len(resources.remembered) > REMEMBERED_CALLERS:
        resources.remembered.pop(next(iter(resources.remembered)))


def _recall(resources: Resources, key: str) -> Key:
    """Return the caller as Postgres last knew it; raises DatabaseUnavailableError if it did not."""
    given = keys.hash_of(key)
    oldest = time.monotonic() - REMEMBERED_SECONDS
    for digest, (found, vouched_at) in resources.remembered.items():
        if hmac.compare_digest(digest, given) and vouched_at >= oldest and not _expired(found):
            log.warning("caller_remembered")
            return found
    raise DatabaseUnavailableError


def _expired(found: Key) -> bool:
    return found.expires_at is not None and found.expires_at.timestamp() <= time.time()


def needs(*scopes: Scope) -> Callable[..., Awaitable[Key]]:
    """Return a dependency that gives the caller; raises 403 unless it has one of `scopes`."""

    async def allowed(caller: Annotated[Key, Depends(_caller)]) -> Key:
        if not set(scopes) & set(caller.scopes):
            details = f"this route needs the scope {' or '.join(scopes)}"
            raise ApiError(HTTPStatus.FORBIDDEN, details)
        return caller

    return allowed


async def _connection(
    resources: The, _: Annotated[Key, Depends(_caller)]
) -> AsyncIterator[Connection]:
    async with connection(resources) as db:
        yield db


Db = Annotated[Connection, Depends(_connection, scope="function")]
"""A connection for a route: taken once its caller is known, given back before the answer is sent.

Looking a caller up takes one too. Routes that held another meanwhile would wait for each other
until none is left, and those who read their answers slowly would keep theirs from everybody.
"""
