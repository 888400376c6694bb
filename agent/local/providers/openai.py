"""OpenAI's HTTP API: chat completions, speech, models."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from aiohttp import web

from agent.local.providers import summary
from agent.local.providers.brain import SPEECH_RATE, Brain, Message
from agent.local.providers.faults import Stage
from agent.local.providers.wire import (
    GARBAGE,
    WIRE,
    ProtocolError,
    Wire,
    as_object,
    json_object,
    text_field,
)

INPUT_CHARACTERS = 4096
"""The limit that OpenAI sets for a text to speak."""
_SSE = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/", root),
        web.get("/v1/models", models),
        web.post("/v1/chat/completions", chat),
        web.post("/v1/audio/speech", speech),
    ]


async def root(_request: web.Request) -> web.Response:
    """Answer the TTS plugin's warm-up."""
    return web.json_response({})


async def models(request: web.Request) -> web.Response:
    """List the one model there is."""
    model = {"id": request.app[WIRE].brain.name, "object": "model", "owned_by": "local"}
    return web.json_response({"object": "list", "data": [{**model, "created": 0}]})


async def chat(request: web.Request) -> web.StreamResponse:
    """Answer a chat, streamed or whole; a JSON schema gets an extractive summary."""
    body = await json_object(request)
    chat_messages = messages(body)
    wire = request.app[WIRE]
    pieces = _pieces(wire.brain, body, chat_messages)
    completion = _Completion(
        wire, wire.log.connection(), str(body.get("model", wire.brain.name)), chat_messages
    )
    if await wire.faults.meet(Stage.LLM, "connect", completion.model):
        return web.Response(text=GARBAGE)
    if not body.get("stream"):
        return await completion.whole(pieces)
    options = body.get("stream_options")
    usage = isinstance(options, dict) and options.get("include_usage") is True
    return await completion.stream(request, pieces, usage=usage)


async def speech(request: web.Request) -> web.StreamResponse:
    """Speak a text as PCM16 at 24 kHz, as raw bytes or server-sent events."""
    body = await json_object(request)
    text = text_field(body, "input", limit=INPUT_CHARACTERS)
    if body.get("response_format", "mp3") != "pcm":
        raise ProtocolError("the only response_format here is pcm")
    wire = request.app[WIRE]
    wire.log.add(Stage.TTS, "spoken", wire.log.connection(), text=text)
    model = str(body.get("model", ""))
    if await wire.faults.meet(Stage.TTS, "connect", model):
        return web.Response(text=GARBAGE)
    events = body.get("stream_format", "audio") == "sse"
    response = web.StreamResponse(headers=_SSE if events else {"Content-Type": "audio/pcm"})
    await response.prepare(request)
    await _send_speech(response, wire, text, model, events=events)
    await response.write_eof()
    return response


async def _send_speech(
    response: web.StreamResponse, wire: Wire, text: str, model: str, *, events: bool
) -> None:
    sent = 0
    async for pcm in wire.brain.speak(text):
        if not sent and await wire.faults.meet(Stage.TTS, "result", model):
            await response.write(GARBAGE.encode())
            return
        sent += len(pcm)
        delta = {"type": "speech.audio.delta", "audio": base64.b64encode(pcm).decode()}
        await response.write(_event(delta) if events else pcm)
    if events:
        tokens = {"input_tokens": _tokens(text), "output_tokens": sent // (SPEECH_RATE // 10)}
        usage = {**tokens, "total_tokens": sum(tokens.values())}
        await response.write(_event({"type": "speech.audio.done", "usage": usage}))


def messages(body: dict[str, Any]) -> list[Message]:
    """Return the chat in `body`; raises ProtocolError for what is none."""
    raw = body.get("messages")
    if not isinstance(raw, list) or not raw:
        raise ProtocolError("messages must be a list that is not empty")
    return [
        Message(str(as_object(m, "a message").get("role", "")), text_of(m.get("content")))
        for m in raw
    ]


def text_of(content: Any) -> str:
    """Return the text of a message's content: a text, or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (p.get("text") or p.get("transcript") for p in parts if isinstance(p, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


async def _pieces(
    brain: Brain, body: dict[str, Any], chat_messages: Sequence[Message]
) -> AsyncIterator[str]:
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        schema = as_object(
            as_object(form.get("json_schema"), "json_schema").get("schema"), "schema"
        )
        yield summary.fill(schema, chat_messages)
        return
    async for piece in brain.answer(chat_messages):
        yield piece


@dataclass(frozen=True)
class _Completion:
    wire: Wire
    connection: int
    model: str
    messages: Sequence[Message]

    async def whole(self, pieces: AsyncIterator[str]) -> web.Response:
        text = "".join([piece async for piece in pieces]).strip()
        garbage = await self.wire.faults.meet(Stage.LLM, "result", self.model)
        self._log(text)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = self._body("chat.completion", [choice], self._usage(text))
        return web.Response(text=GARBAGE) if garbage else web.json_response(body)

    async def stream(
        self, request: web.Request, pieces: AsyncIterator[str], *, usage: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=_SSE)
        said: list[str] = []
        id_ = f"chatcmpl-{uuid4().hex}"
        async for piece in pieces:
            if not said:
                await response.prepare(request)
                if await self.wire.faults.meet(Stage.LLM, "result", self.model):
                    await response.write(f"data: {GARBAGE}\n\n".encode())
                    return response
            said.append(piece)
            await response.write(self._chunk(id_, {"role": "assistant", "content": piece}))
        if not said:
            await response.prepare(request)
        await response.write(self._chunk(id_, {}, finish="stop"))
        text = "".join(said)
        self._log(text)
        if usage:
            body = self._body("chat.completion.chunk", [], self._usage(text))
            await response.write(_event({**body, "id": id_}))
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    def _log(self, text: str) -> None:
        self.wire.log.add(
            Stage.LLM,
            "answered",
            self.connection,
            text=text.strip(),
            asked=next((m.text for m in reversed(self.messages) if m.role == "user"), None),
        )

    def _chunk(self, id_: str, delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _event({**self._body("chat.completion.chunk", [choice], None), "id": id_})

    def _body(self, kind: str, choices: list[dict[str, Any]], usage: Any) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
            "model": self.model,
            "choices": choices,
            "usage": usage,
        }

    def _usage(self, text: str) -> dict[str, Any]:
        prompt, completion = sum(_tokens(m.text) for m in self.messages), _tokens(text)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": 0},
        }


def _tokens(text: str) -> int:
    """Return about how many tokens `text` is: four characters each."""
    return len(text) // 4 + 1


def _event(body: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()
