"""How large a request may be and how long it may take; and no bare failure, whatever happens."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.api import errors
from agent.api.edge import is_stream, request_id
from agent.api.shapes import MAX_BODY_BYTES

log = structlog.get_logger("coach.api")

REQUEST_SECONDS = 30.0
"""How long a request and its answer may take, streams apart."""


class TooLargeError(Exception):
    """A body is larger than any may be."""


class Bounds:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            async with asyncio.timeout(REQUEST_SECONDS) as answer.limit:
                body = await _whole_body(scope, receive)
                await self.app(scope, _replayed(body, receive), answer.send)
        except ClientDisconnect:
            log.info("request_broken_off")
        except Exception as error:
            failure = _described(error, answer.limit)
            if answer.begun:
                raise  # half an answer cannot be taken back: the server cuts the connection
            await failure(scope, receive, send)


def _described(error: Exception, limit: asyncio.Timeout | None) -> JSONResponse:
    """Return the answer to a request that came to `error`, and log one that is a fault of ours."""
    if isinstance(error, TooLargeError):
        details = f"a body has at most {MAX_BODY_BYTES} bytes"
        return errors.response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, details)
    if isinstance(error, TimeoutError) and limit is not None and limit.expired():
        details = f"not answered within {REQUEST_SECONDS:.0f} s; try again"
        return errors.response(HTTPStatus.SERVICE_UNAVAILABLE, details)
    log.error("request_failed", exc_info=error)
    details = f"see the log for request {request_id()}"
    return errors.response(HTTPStatus.INTERNAL_SERVER_ERROR, details)


class _Answer:
    """An answer on its way: of one that streams, each piece has a time to be taken in."""

    limit: asyncio.Timeout | None = None
    begun = False

    def __init__(self, send: Send) -> None:
        self._send = send
        self._streams = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            self._streams = is_stream(message)
        if self._streams:
            self._wait_at_most(REQUEST_SECONDS)
        await self._send(message)
        if self._streams:
            self._wait_at_most(None)

    def _wait_at_most(self, seconds: float | None) -> None:
        if self.limit is not None and not self.limit.expired():
            until = None if seconds is None else asyncio.get_running_loop().time() + seconds
            self.limit.reschedule(until)


async def _whole_body(scope: Scope, receive: Receive) -> bytes:
    """Return the request's body; raises TooLargeError, and ClientDisconnect where it breaks off.

    What is announced as too large is not waited for.
    """
    announced = Headers(scope=scope).get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY_BYTES:
        raise TooLargeError
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise TooLargeError
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
