"""Deepgram's speech: a websocket that takes words and gives PCM, and one request for a text."""

from __future__ import annotations

from aiohttp import web

from agent.local.providers.brain import SPEECH_RATE
from agent.local.providers.faults import Dropped, Stage
from agent.local.providers.openai import INPUT_CHARACTERS
from agent.local.providers.wire import (
    GARBAGE,
    WIRE,
    ProtocolError,
    Wire,
    as_object,
    cut,
    frames,
    json_object,
    parsed,
    refuse,
    text_field,
    websocket,
)


def routes() -> list[web.RouteDef]:
    return [web.get("/v1/speak", speak), web.post("/v1/speak", speak_once)]


async def speak(request: web.Request) -> web.WebSocketResponse:
    """Serve one stream; raises ProtocolError for a query that cannot be served."""
    wire, socket, model = request.app[WIRE], websocket(request), _model(request)
    garbage = await wire.faults.meet(Stage.TTS, "connect", model)
    await socket.prepare(request)
    if garbage:
        await socket.send_str(GARBAGE)
    try:
        await _talk(wire, socket, model)
    except ProtocolError as error:
        await refuse(socket, f"DATA-0000: {error}")
    except Dropped:
        cut(request)
    return socket


async def _talk(wire: Wire, socket: web.WebSocketResponse, model: str) -> None:
    text = ""
    async for frame in frames(socket):
        message = as_object(parsed(frame, "the frame"), "the frame")
        match message.get("type"):
            case "Speak":
                text += text_field(message, "text", limit=INPUT_CHARACTERS)
            case "Flush":
                await _flush(wire, socket, text, model)
                text = ""
            case "Close":
                await socket.close()
            case unknown:
                raise ProtocolError(f"unknown message type {str(unknown)[:40]!r}")


async def speak_once(request: web.Request) -> web.Response:
    """Speak one text."""
    wire, model = request.app[WIRE], _model(request)
    text = text_field(await json_object(request), "text", limit=INPUT_CHARACTERS)
    _log(wire, text)
    garbage = await wire.faults.meet(Stage.TTS, "connect", model)
    garbage = await wire.faults.meet(Stage.TTS, "result", model) or garbage
    pcm = b"".join([piece async for piece in wire.brain.speak(text)])
    return web.Response(body=GARBAGE.encode() if garbage else pcm, content_type="audio/l16")


async def _flush(wire: Wire, socket: web.WebSocketResponse, text: str, model: str) -> None:
    if text.strip():
        _log(wire, text)
        if await wire.faults.meet(Stage.TTS, "result", model):
            await socket.send_str(GARBAGE)
            return
        async for pcm in wire.brain.speak(text.strip()):
            await socket.send_bytes(pcm)
    await socket.send_json({"type": "Flushed", "sequence_id": 0})


def _model(request: web.Request) -> str:
    query = request.query
    if query.get("encoding", "linear16") != "linear16":
        raise ProtocolError("only linear16 is spoken")
    if query.get("sample_rate", str(SPEECH_RATE)) != str(SPEECH_RATE):
        raise ProtocolError(f"the only sample_rate here is {SPEECH_RATE}")
    return query.get("model", "")


def _log(wire: Wire, text: str) -> None:
    wire.log.add(Stage.TTS, "spoken", wire.log.connection(), text=text.strip())
