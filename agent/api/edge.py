"""The outermost layer: an id for each request, bounds, one log line, and no bare failure.

The log names a route by its template: a path or a query may hold a name or what someone said.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from http import HTTPMethod, HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.api import errors
from agent.api.measures import UNKNOWN, Measures
from agent.api.shapes import MAX_BODY_BYTES

log = structlog.get_logger("coach.api")

REQUEST_SECONDS = 30.0
"""How long a request and its answer may take, streams apart."""
STREAM = "text/event-stream"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
"""What an answer says to browsers, unless its route says otherwise: it is data, and no page."""


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
                await self._answer(scope, receive, exchange)
            finally:
                exchange.log()
                exchange.measure(self._measures)

    async def _answer(self, scope: Scope, receive: Receive, exchange: _Exchange) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS) as limit:
                exchange.limit = limit
                await self._pass_on(scope, receive, exchange)
        except Exception as error:
            late = isinstance(error, TimeoutError) and limit.expired()
            if not late:
                log.exception("request_failed")
            if exchange.status is not None:
                raise  # half an answer cannot be taken back: the server cuts the connection
            answer = _too_late() if late else _failed(exchange.request_id)
            await answer(scope, receive, exchange.send)

    async def _pass_on(self, scope: Scope, receive: Receive, exchange: _Exchange) -> None:
        body = await _whole_body(scope, receive)
        if body is None:
            details = f"a body has at most {MAX_BODY_BYTES} bytes"
            answer = errors.response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, details)
            await answer(scope, receive, exchange.send)
        else:
            await self.app(scope, _replayed(body, receive), exchange.send)


def _too_late() -> JSONResponse:
    details = f"not answered within {REQUEST_SECONDS:.0f} s; try again"
    return errors.response(HTTPStatus.SERVICE_UNAVAILABLE, details)


def _failed(request_id: str) -> JSONResponse:
    details = f"see the log for request {request_id}"
    return errors.response(HTTPStatus.INTERNAL_SERVER_ERROR, details)


class _Exchange:
    """One request with its answer."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self.status: int | None = None
        self.limit: asyncio.Timeout | None = None
        """How long the answer may take; of one that streams, each piece to be taken."""
        self._streams = False
        self._scope = scope
        self._send = send
        self._began = time.monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            self._streams = headers.get("content-type", "").startswith(STREAM)
            headers["x-request-id"] = self.request_id
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        if self._streams:
            self._wait_at_most(REQUEST_SECONDS)
        await self._send(message)
        if self._streams:
            self._wait_at_most(None)

    def _wait_at_most(self, seconds: float | None) -> None:
        if self.limit is not None and not self.limit.expired():
            until = None if seconds is None else asyncio.get_running_loop().time() + seconds
            self.limit.reschedule(until)

    @property
    def method(self) -> str:
        """The method, if it is one of HTTP's: any other is the caller's own word."""
        method: str = self._scope["method"]
        return method if method in HTTPMethod.__members__ else UNKNOWN

    @property
    def route(self) -> str | None:
        return getattr(self._scope.get("route"), "path", None)

    def log(self) -> None:
        log.info(
            "request",
            method=self.method,
            route=self.route,
            status=self.status,
            milliseconds=round((time.monotonic() - self._began) * 1000, 1),
        )

    def measure(self, measures: Measures) -> None:
        seconds = None if self._streams else time.monotonic() - self._began
        measures.answered(self.method, self.route, self.status, seconds)


async def _whole_body(scope: Scope, receive: Receive) -> bytes | None:
    """Return the request's body, None if it is too large; what is announced is not waited for."""
    announced = Headers(scope=scope).get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives `body` once, then whatever the server says."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
