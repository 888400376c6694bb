"""The outermost layer: an id for each request, what every answer tells a browser, one log line.

The log names a route by its template: a path or a query may hold a name or what someone said.
"""

from __future__ import annotations

import re
import time
import uuid
from http import HTTPMethod

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.api.measures import UNKNOWN, Measures

log = structlog.get_logger("coach.api")

STREAM = b"text/event-stream"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
"""What an answer says to browsers, unless its route says otherwise: it is data, and no page."""


def request_id() -> str:
    """Return the id of the request that is being answered."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def is_stream(start: Message) -> bool:
    """Return whether the answer that begins with `start` goes on for as long as it likes."""
    return any(
        name.lower() == b"content-type" and value.startswith(STREAM)
        for name, value in start["headers"]
    )


class Edge:
    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self.app = app
        self._measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        with structlog.contextvars.bound_contextvars(request_id=exchange.request_id):
            try:
                await self.app(scope, receive, exchange.send)
            finally:
                exchange.log()
                exchange.measure(self._measures)


class _Exchange:
    """One request with its answer."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self._status: int | None = None
        self._streams = False
        self._scope = scope
        self._send = send
        self._began = time.monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._streams = message["status"], is_stream(message)
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)

    @property
    def _method(self) -> str:
        """The method, if it is one of HTTP's: any other is the caller's own word."""
        method: str = self._scope["method"]
        return method if method in HTTPMethod.__members__ else UNKNOWN

    @property
    def _route(self) -> str | None:
        return getattr(self._scope.get("route"), "path", None)

    def log(self) -> None:
        log.info(
            "request",
            method=self._method,
            route=self._route,
            status=self._status,
            milliseconds=round((time.monotonic() - self._began) * 1000, 1),
        )

    def measure(self, measures: Measures) -> None:
        seconds = None if self._streams else time.monotonic() - self._began
        measures.answered(self._method, self._route, self._status, seconds)
