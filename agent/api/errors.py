"""Errors as clients see them: always `{"error", "details"}`, never with what was sent."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from agent.api.shapes import Problem
from persistence.database import STATEMENT_TIMED_OUT
from persistence.errors import (
    DatabaseRefusedError,
    DatabaseUnavailableError,
    PersistenceError,
    SchemaOutdatedError,
)
from persistence.events import clean_text

_MEANINGS: Mapping[int, str] = {
    400: "What was sent cannot be parsed or is not valid.",
    401: "No key, or one that is unknown, expired or revoked.",
    403: "The key does not allow this.",
    404: "There is no such thing.",
    409: "It contradicts what is there.",
    413: "The body is larger than 64 KiB.",
    429: "Too many requests; Retry-After says in how many seconds there may be another.",
    503: "Postgres or LiveKit cannot be reached; try again.",
}
_EXAMPLES: Mapping[int, Problem] = {
    400: Problem(error="bad request", details=[{"where": "path.sessionId", "what": "no UUID"}]),
    401: Problem(error="unauthorized", details="this route needs a key"),
    403: Problem(error="forbidden", details="this route needs the scope admin"),
    404: Problem(error="not found", details="there is no such session"),
    409: Problem(error="conflict", details="that room belongs to another appointment"),
    413: Problem(error="content too large", details="a body has at most 65536 bytes"),
    429: Problem(error="too many requests", details="at most 600 requests a minute for each key"),
    503: Problem(error="service unavailable", details="LiveKit cannot be reached"),
}


class ApiError(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, status: HTTPStatus, details: Any, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status.phrase)
        self.status = status
        self.details = details
        self.headers = headers


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of the errors that a route answers with; every one limits."""
    return {
        status: {
            "description": _MEANINGS[status],
            # by its name, which `app` adds: with a model it would be of the route's media type
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": _EXAMPLES[status].model_dump(),
                }
            },
        }
        for status in (*statuses, 429)
    }


def response(
    status: HTTPStatus, details: Any, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return an error's answer."""
    # by our own words where there are some: those of a status are not the same in every Python
    content = {"error": _EXAMPLES[status].error if status in _EXAMPLES else status.phrase.lower()}
    content["details"] = details
    return JSONResponse(content, status.value, headers=dict(headers or {}))


def install(app: FastAPI) -> None:
    """Make every error of `app` answer in this shape."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(PersistenceError, _storage_error)


async def _api_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)  # noqa: S101 - registered for this type alone
    return response(error.status, error.details, error.headers)


async def http_error(_: Request, error: Exception) -> JSONResponse:
    """Answer for the framework: no such route, or not by this method."""
    assert isinstance(error, HTTPException)  # noqa: S101
    return response(HTTPStatus(error.status_code), error.detail, error.headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return response(HTTPStatus.BAD_REQUEST, [_place(found) for found in error.errors()])


def _place(found: Mapping[str, Any]) -> dict[str, str]:
    """Say where something is wrong and what is expected, without the value itself."""
    where = ".".join(str(part) for part in found["loc"])
    what = str(found["msg"]).removeprefix("Value error, ")
    return {"where": clean_text(where)[:200], "what": clean_text(what)[:200]}


async def _storage_error(_: Request, error: Exception) -> JSONResponse:
    """Answer for Postgres. Data that it refuses (SQLSTATE classes 22 and 23) is bad input.

    A lock that another holds, a deadlock or a search that takes too long may pass.
    """
    if isinstance(error, DatabaseUnavailableError | SchemaOutdatedError):
        return response(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    sqlstate = (error.sqlstate or "") if isinstance(error, DatabaseRefusedError) else ""
    if sqlstate.startswith(("40", "55")) or sqlstate == STATEMENT_TIMED_OUT:
        return response(HTTPStatus.SERVICE_UNAVAILABLE, "the database is busy with this; try again")
    if sqlstate.startswith("22"):
        return response(HTTPStatus.BAD_REQUEST, "the database cannot hold what was sent")
    if sqlstate.startswith("23"):
        return response(HTTPStatus.CONFLICT, "this contradicts what is there")
    raise error
