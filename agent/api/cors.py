"""Pages of other sites: those that a setting names may call, and are told why they may not."""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from agent.api import errors

METHODS = ("GET", "POST", "PUT", "PATCH")
SENT = (
    "Authorization",
    "X-API-Key",
    "Content-Type",
    "If-None-Match",
    "Last-Event-ID",
    "X-Request-ID",
)
SHOWN = ("Link", "Retry-After", "X-Request-ID", "ETag", "Content-Disposition")


class Cors(CORSMiddleware):
    """What other sites' pages may send and read; never with a cookie."""

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=SENT,
            expose_headers=SHOWN,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the answer to a browser that asks before it calls; a refusal is an error."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < HTTPStatus.BAD_REQUEST:
            return answer
        said = bytes(answer.body).decode().removeprefix("Disallowed CORS ")
        about = {n: v for n, v in answer.headers.items() if not n.startswith("content-")}
        return errors.response(HTTPStatus.FORBIDDEN, f"pages may not call like this: {said}", about)
