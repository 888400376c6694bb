"""Deepgram's live transcription: a websocket that takes PCM and gives segments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from aiohttp import web

from agent.local.providers.brain import Ear, Heard, Speaking
from agent.local.providers.faults import Dropped, Stage
from agent.local.providers.wire import (
    GARBAGE,
    WIRE,
    ProtocolError,
    Wire,
    cut,
    frames,
    parsed,
    refuse,
    websocket,
)


def routes() -> list[web.RouteDef]:
    return [web.get("/v1/listen", listen)]


async def listen(request: web.Request) -> web.WebSocketResponse:
    """Serve one stream; raises ProtocolError for a query that cannot be served."""
    wire, socket = request.app[WIRE], websocket(request)
    model = request.query.get("model")
    garbage = await wire.faults.meet(Stage.STT, "connect", model)
    ear = _ear(wire, request)
    try:
        await socket.prepare(request)
        if garbage:
            await socket.send_str(GARBAGE)
        await _Stream(wire, socket, ear, model).run()
    except ProtocolError as error:
        await refuse(socket, f"DATA-0000: {error}")
    except Dropped:
        cut(request)
    finally:
        await ear.aclose()
    return socket


def _ear(wire: Wire, request: web.Request) -> Ear:
    query = request.query
    if query.get("encoding", "linear16") != "linear16" or query.get("channels", "1") != "1":
        raise ProtocolError("only linear16 in one channel is understood")
    try:
        return wire.brain.listen(int(query.get("sample_rate", "16000")))
    except ValueError as error:
        raise ProtocolError(f"sample_rate: {error}") from None


class _Stream:
    """One client's stream."""

    def __init__(
        self, wire: Wire, socket: web.WebSocketResponse, ear: Ear, model: str | None
    ) -> None:
        self._wire = wire
        self._socket = socket
        self._ear = ear
        self._model = model
        self._connection = wire.log.connection()
        self._request_id = str(uuid4())

    async def run(self) -> None:
        self._wire.log.add(Stage.STT, "opened", self._connection)
        async for frame in frames(self._socket):
            if isinstance(frame, bytes):
                await self._send(await self._ear.hear(frame))
            elif not await self._control(frame):
                break
        self._wire.log.add(Stage.STT, "closed", self._connection)

    async def _control(self, frame: str) -> bool:
        """Do what a text frame asks for; return whether the stream goes on."""
        match _type(frame):
            case "KeepAlive":
                return True
            case "Finalize":
                await self._send(await self._ear.finish(closing=False))
                await self._socket.send_json(self._result(_nothing(), from_finalize=True))
                return True
            case "CloseStream":
                await self._send(await self._ear.finish(closing=True))
                await self._socket.send_json(
                    {"type": "Metadata", "request_id": self._request_id, "channels": 1}
                )
                await self._socket.close()
                return False
            case unknown:
                raise ProtocolError(f"unknown message type {str(unknown)[:40]!r}")

    async def _send(self, events: Iterable[Speaking | Heard]) -> None:
        for event in events:
            if isinstance(event, Speaking):
                await self._socket.send_json(
                    {"type": "SpeechStarted", "channel": [0, 1], "timestamp": event.start}
                )
            else:
                await self._send_heard(event)

    async def _send_heard(self, heard: Heard) -> None:
        if heard.final:
            self._log(heard)
            if await self._wire.faults.meet(Stage.STT, "result", self._model):
                await self._socket.send_str(GARBAGE)
                return
        await self._socket.send_json(self._result(heard))

    def _log(self, heard: Heard) -> None:
        self._wire.log.add(
            Stage.STT, "heard", self._connection, ids=list(heard.ids), text=heard.text
        )

    def _result(self, heard: Heard, *, from_finalize: bool = False) -> dict[str, Any]:
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "start": heard.start,
            "duration": round(heard.end - heard.start, 3),
            "is_final": heard.final,
            "speech_final": heard.final and not from_finalize,
            "from_finalize": from_finalize,
            "metadata": {"request_id": self._request_id},
            "channel": {"alternatives": [_alternative(heard)]},
        }


def _alternative(heard: Heard) -> dict[str, Any]:
    words = [
        {
            "word": word.text.strip(".,?!").lower(),
            "punctuated_word": word.text,
            "start": word.start,
            "end": word.end,
            "confidence": heard.confidence,
        }
        for word in heard.words
    ]
    return {"transcript": heard.text, "confidence": heard.confidence, "words": words}


def _nothing() -> Heard:
    return Heard("", 0.0, (), 0.0, 0.0, final=True)


def _type(frame: str) -> object:
    message = parsed(frame, "the frame")
    return message.get("type") if isinstance(message, dict) else None
