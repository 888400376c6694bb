"""OpenAI's Realtime API: one websocket that takes speech and gives speech, with both transcripts.

What livekit's client parses is spoken: the user's item by `speech_started`, `speech_stopped`,
`committed`, `conversation.item.added` and `…input_audio_transcription.completed`; a reply by
`response.created` to `response.done`. Speech is detected by the brain's ear. Function calls, images
and audio in created items are not understood; they are refused with an `error` event.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web

from agent.local import tasks
from agent.local.providers.brain import SPEECH_RATE, Heard, Speaking
from agent.local.providers.conversation import Conversation, new_id
from agent.local.providers.faults import Dropped, Stage
from agent.local.providers.reply import Reply
from agent.local.providers.wire import (
    GARBAGE,
    WIRE,
    ProtocolError,
    Wire,
    as_object,
    cut,
    error_body,
    frames,
    parsed,
    websocket,
)

log = structlog.get_logger("coach.providers")

MAX_UNCOMMITTED = 1000
"""Pieces of speech that are kept for a client that detects turns itself and never commits."""


def routes() -> list[web.RouteDef]:
    return [web.get("/v1/realtime", realtime)]


async def realtime(request: web.Request) -> web.WebSocketResponse:
    """Serve one session; raises ProtocolError where no websocket is asked for."""
    wire, socket = request.app[WIRE], websocket(request)
    garbage = await wire.faults.meet(Stage.REALTIME, "connect")
    await socket.prepare(request)
    if garbage:
        await socket.send_str(GARBAGE)
    session = _Session(wire, socket, lambda: cut(request))
    try:
        await session.run(request.query.get("model", wire.brain.name))
    except Dropped:
        cut(request)
    finally:
        await session.aclose()
    return socket


class _Session:
    """One client's session."""

    def __init__(
        self, wire: Wire, socket: web.WebSocketResponse, cut_off: Callable[[], None]
    ) -> None:
        self._wire = wire
        self._socket = socket
        self._cut_off = cut_off
        self._connection = wire.log.connection()
        self._ear = wire.brain.listen(SPEECH_RATE)
        self._conversation = Conversation()
        self._detection: dict[str, Any] | None = {"type": "server_vad"}
        self._transcribes = True
        self._item_id: str | None = None
        self._uncommitted: list[Heard] = []
        self._reply: Reply | None = None
        self._replying: asyncio.Task[None] | None = None
        self._transcripts = tasks.Owner()
        self._handlers: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.delete": self._delete_item,
            "conversation.item.truncate": self._truncate,
            "response.create": self._respond,
            "response.cancel": self._cancel,
        }

    async def run(self, model: str) -> None:
        self._wire.log.add(Stage.REALTIME, "opened", self._connection)
        session = {"type": "realtime", "object": "realtime.session", "model": model}
        await self.send("session.created", session={**session, "id": new_id("sess")})
        async for frame in frames(self._socket):
            await self._take(frame)
        self._wire.log.add(Stage.REALTIME, "closed", self._connection)

    async def aclose(self) -> None:
        await self._stop_reply()
        await self._transcripts.close()
        await self._ear.aclose()

    async def send(self, kind: str, **what: Any) -> None:
        """Send an event; to a client that has gone, nothing."""
        event = {"type": kind, "event_id": new_id("event"), **what}
        with contextlib.suppress(ConnectionError):
            await self._socket.send_str(json.dumps(event))

    async def send_garbage(self) -> None:
        """Send a frame that is no event."""
        await self._socket.send_str(GARBAGE)

    async def _take(self, frame: str | bytes) -> None:
        """Do what a frame asks for; an error is told to the client, and the session goes on."""
        event: dict[str, Any] = {}
        try:
            event = as_object(parsed(frame, "the frame"), "the frame")
            await self._handler(event)(event)
        except ProtocolError as error:
            body = error_body(str(error))["error"]
            about = {"code": error.code, "event_id": event.get("event_id")}
            await self.send("error", error={**body, **about})

    def _handler(self, event: dict[str, Any]) -> Callable[[dict[str, Any]], Awaitable[None]]:
        kind = str(event.get("type"))
        if kind not in self._handlers:
            raise ProtocolError(f"unknown event type {kind[:60]!r}")
        return self._handlers[kind]

    async def _update(self, event: dict[str, Any]) -> None:
        session = as_object(event.get("session"), "session")
        audio = session.get("audio")
        heard = audio.get("input") if isinstance(audio, dict) else None
        if isinstance(heard, dict):
            if "turn_detection" in heard:
                detection = heard["turn_detection"]
                self._detection = detection if isinstance(detection, dict) else None
            if "transcription" in heard:
                self._transcribes = heard["transcription"] is not None
        await self.send("session.updated", session=session)

    async def _append(self, event: dict[str, Any]) -> None:
        try:
            pcm = base64.b64decode(event.get("audio", ""), validate=True)
        except (TypeError, ValueError):
            raise ProtocolError("audio is no base64") from None
        for heard in await self._ear.hear(pcm):
            if isinstance(heard, Speaking):
                await self._speech_started(heard)
            elif heard.final:
                await self._heard(heard)

    async def _speech_started(self, speaking: Speaking) -> None:
        if self._detection is None:
            return
        self._item_id = self._item_id or new_id("item")
        await self.send(
            "input_audio_buffer.speech_started",
            item_id=self._item_id,
            audio_start_ms=round(speaking.start * 1000),
        )
        if self._detection.get("interrupt_response", True):
            await self._stop_reply()

    async def _heard(self, heard: Heard) -> None:
        """Take a piece of speech as a turn, or keep it until the client commits it."""
        if self._detection is None:
            self._uncommitted = [*self._uncommitted[1 - MAX_UNCOMMITTED :], heard]
            return
        self._item_id = self._item_id or new_id("item")
        await self.send(
            "input_audio_buffer.speech_stopped",
            item_id=self._item_id,
            audio_end_ms=round(heard.end * 1000),
        )
        if not heard.text:
            self._item_id = None
            return
        await self._user_item([heard])
        if self._detection.get("create_response", True):
            await self._start_reply(None)

    async def _user_item(self, heard: list[Heard]) -> None:
        item_id, self._item_id = self._item_id or new_id("item"), None
        text = " ".join(piece.text for piece in heard)
        ids = [id_ for piece in heard for id_ in piece.ids]
        self._wire.log.add(
            Stage.REALTIME, "heard", self._connection, ids=ids, text=text, item_id=item_id
        )
        previous = self._conversation.last_id
        await self.send("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        content = [{"type": "input_audio", "transcript": None}]
        item = self._conversation.add(item_id, "user", text, content)
        await self.send("conversation.item.added", item=item, previous_item_id=previous)
        if self._transcribes:
            self._transcripts.start(self._transcript(item_id, text, heard), "transcript")

    async def _transcript(self, item_id: str, text: str, heard: list[Heard]) -> None:
        if await self._wire.faults.meet(Stage.TRANSCRIPTION, "result"):
            error = {"type": "transcription_error", "message": "the audio could not be transcribed"}
            await self.send(
                "conversation.item.input_audio_transcription.failed",
                item_id=item_id,
                content_index=0,
                error=error,
            )
            return
        seconds = sum(piece.end - piece.start for piece in heard)
        await self.send(
            "conversation.item.input_audio_transcription.completed",
            item_id=item_id,
            content_index=0,
            transcript=text,
            usage={"type": "duration", "seconds": round(seconds, 3)},
        )

    async def _commit(self, _event: dict[str, Any]) -> None:
        fresh = [h for h in await self._ear.finish(closing=True) if isinstance(h, Heard)]
        heard, self._uncommitted = self._uncommitted + fresh, []
        if not any(piece.text for piece in heard):
            raise ProtocolError("nothing was said", "input_audio_buffer_commit_empty")
        await self._user_item(heard)

    async def _clear(self, _event: dict[str, Any]) -> None:
        await self._ear.finish(closing=True)
        self._uncommitted, self._item_id = [], None
        await self.send("input_audio_buffer.cleared")

    async def _create_item(self, event: dict[str, Any]) -> None:
        after = event.get("previous_item_id")
        item, previous = self._conversation.create(
            as_object(event.get("item"), "item"), after if isinstance(after, str) else None
        )
        await self.send("conversation.item.added", item=item, previous_item_id=previous)

    async def _delete_item(self, event: dict[str, Any]) -> None:
        self._conversation.delete(str(event.get("item_id")))
        await self.send("conversation.item.deleted", item_id=event.get("item_id"))

    async def _truncate(self, event: dict[str, Any]) -> None:
        """Let the conversation hold of a reply only what was played."""
        end = event.get("audio_end_ms")
        if not isinstance(end, int) or isinstance(end, bool) or end < 0:
            raise ProtocolError("audio_end_ms must be a number of milliseconds")
        item_id = str(event.get("item_id"))
        self._conversation.truncate(item_id, end)
        self._wire.log.add(
            Stage.REALTIME, "truncated", self._connection, item_id=item_id, audio_end_ms=end
        )
        await self.send(
            "conversation.item.truncated", item_id=item_id, content_index=0, audio_end_ms=end
        )

    async def _respond(self, event: dict[str, Any]) -> None:
        params = event.get("response")
        if self._replying is not None and not self._replying.done():
            raise ProtocolError(
                "the conversation already has an active response",
                "conversation_already_has_active_response",
            )
        await self._start_reply(params if isinstance(params, dict) else {})

    async def _cancel(self, event: dict[str, Any]) -> None:
        wanted = event.get("response_id")
        if not self._active() or (wanted and self._reply and wanted != self._reply.id):
            raise ProtocolError(
                "Cancellation failed: no active response found", "response_cancel_not_active"
            )
        await self._stop_reply()

    def _active(self) -> bool:
        return self._replying is not None and not self._replying.done()

    async def _start_reply(self, params: dict[str, Any] | None) -> None:
        await self._stop_reply()
        metadata = (params or {}).get("metadata")
        self._reply = Reply(
            self._wire, self._conversation, self, self._connection, metadata or None
        )
        self._replying = asyncio.create_task(self._run_reply(self._reply))

    async def _run_reply(self, reply: Reply) -> None:
        """Give a reply; what goes wrong in it ends the connection, as the fault asks."""
        try:
            await reply.give()
        except Dropped:
            self._cut_off()
        except Exception as error:  # noqa: BLE001 — whatever a brain may raise is the reply's end
            log.error("reply_failed", error=type(error).__name__)  # noqa: TRY400 — it may quote
            await reply.end("failed")

    async def _stop_reply(self) -> None:
        task, reply = self._replying, self._reply
        self._replying = self._reply = None
        if task is None or reply is None or task.done():
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await reply.cancelled()
