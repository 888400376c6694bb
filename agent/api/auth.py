"""Who calls, and what they may do: keys in one of three headers, scopes on each route.

While Postgres is away, callers that it vouched for within the last five minutes stay known: health
can then say what is down, and a client can still get into a room.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from agent.api.errors import ApiError
from agent.api.resources import Resources, The, connection
from persistence import keys
from persistence.errors import DatabaseUnavailableError
from persistence.keys import Key

log = structlog.get_logger("coach.api")

REMEMBERED_SECONDS = 300.0
REMEMBERED_CALLERS = 1000


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


async def _caller(
    request: Request,
    resources: The,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    api_key: Annotated[str | None, Security(_api_key)],
    internal_key: Annotated[str | None, Security(_internal_key)],
) -> Key:
    """Return whose key came with the request; raises 401 if it is nobody's, 429 if it tires."""
    await resources.limits.count_address(request.client.host if request.client else "")
    given = bearer.credentials if bearer else api_key
    found = await _known(resources, given or internal_key or "")
    if found is None:
        sent = given or internal_key
        details = "this key is unknown, expired or revoked" if sent else "this route needs a key"
        raise ApiError(HTTPStatus.UNAUTHORIZED, details, {"WWW-Authenticate": "Bearer"})
    await resources.limits.count_key(str(found.id))
    if not given:
        found = replace(found, scopes=[s for s in found.scopes if s == Scope.INTERNAL])
    return found


async def _known(resources: Resources, key: str) -> Key | None:
    try:
        async with connection(resources) as db:
            found = await keys.find(db, key)
            if found is not None:
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
