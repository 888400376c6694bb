"""What the protocols share: the brain, the faults, the log, and how errors look."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from agent.local.providers.brain import Brain
from agent.local.providers.faults import Dropped, Faults, Refused, WireLog

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_FRAME_BYTES = 2 * 1024 * 1024
GARBAGE = "\x00{garbage"
"""A frame that is no JSON."""


@dataclass(frozen=True)
class Wire:
    """What a protocol's handler works with."""

    brain: Brain
    faults: Faults
    log: WireLog


WIRE = web.AppKey("wire", Wire)


class ProtocolError(Exception):
    """The client sent what the protocol does not have."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        """The provider's own name for the error, where its client looks at it."""


def error_body(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    """Return an error as OpenAI's API words it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


@web.middleware
async def outcomes(request: web.Request, handler: Any) -> web.StreamResponse:
    """Turn what handlers raise into what goes over the wire."""
    try:
        response: web.StreamResponse = await handler(request)
    except ProtocolError as error:
        return web.json_response(error_body(str(error)), status=400)
    except Refused as error:
        body = error_body(f"injected {error}", "server_error")
        return web.json_response(body, status=error.status)
    except Dropped:
        cut(request)
        return web.Response()
    return response


def cut(request: web.Request) -> None:
    """End the connection without a word."""
    if request.transport is not None:
        request.transport.abort()


async def json_object(request: web.Request) -> dict[str, Any]:
    """Return the request's body; raises ProtocolError unless it is a JSON object."""
    return as_object(await json_value(request), "the body")


async def json_value(request: web.Request) -> Any:
    """Return the request's body; raises ProtocolError unless it is JSON."""
    return parsed(await request.read(), "the body")


def parsed(text: str | bytes, what: str) -> Any:
    """Return the JSON in `text`; raises ProtocolError where it is none, or nested too deep."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError(f"{what} is no JSON") from None


def as_object(value: Any, what: str) -> dict[str, Any]:
    """Return `value`; raises ProtocolError unless it is a JSON object."""
    if not isinstance(value, dict):
        raise ProtocolError(f"{what} is no JSON object")
    return value


def text_field(body: dict[str, Any], name: str, *, limit: int) -> str:
    """Return a field; raises ProtocolError unless it is a text of 1 to `limit` characters."""
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= limit:
        raise ProtocolError(f"{name} must be a text of 1 to {limit} characters")
    return value


def websocket(request: web.Request) -> web.WebSocketResponse:
    """Return an unprepared websocket; raises ProtocolError unless one is asked for."""
    socket = web.WebSocketResponse(max_msg_size=MAX_FRAME_BYTES, heartbeat=30)
    if not socket.can_prepare(request).ok:
        raise ProtocolError("this is a websocket's address")
    return socket


async def frames(socket: web.WebSocketResponse) -> Any:
    """Yield the frames of a client until it goes: text, or bytes."""
    async for message in socket:
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            yield message.data


async def refuse(socket: web.WebSocketResponse, message: str) -> None:
    """Close a websocket for a protocol error, which it is told."""
    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=message.encode()[:123])
