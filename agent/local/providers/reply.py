"""One response of the Realtime API: from `response.created` to `response.done`."""

from __future__ import annotations

import base64
from typing import Any, Protocol

from agent.local.providers.conversation import Conversation, new_id, wire_item
from agent.local.providers.faults import Stage
from agent.local.providers.wire import Wire


class Channel(Protocol):
    """Where a reply's events go."""

    async def send(self, kind: str, **what: Any) -> None:
        """Send an event."""

    async def send_garbage(self) -> None:
        """Send a frame that is no event."""


class Reply:
    """A reply under way: its text first, then its speech, as fast as the client takes them."""

    def __init__(
        self,
        wire: Wire,
        conversation: Conversation,
        channel: Channel,
        connection: int,
        metadata: dict[str, Any] | None,
    ) -> None:
        self.id = new_id("resp")
        self._item_id = new_id("item")
        self._wire = wire
        self._conversation = conversation
        self._channel = channel
        self._send = channel.send
        self._connection = connection
        self._metadata = metadata
        self._created = False
        self._ended = False
        self._text = ""

    async def give(self) -> None:
        """Make the reply and send it."""
        messages = self._conversation.messages
        self._created = True
        await self._send("response.created", response=self._response("in_progress"))
        await self._begin_item()
        if await self._wire.faults.meet(Stage.REALTIME, "result"):
            await self._channel.send_garbage()
        async for piece in self._wire.brain.answer(messages):
            self._text += piece
            self._conversation.find(self._item_id).text = self._text
            await self._delta("response.output_audio_transcript.delta", piece)
        self._log("spoken")
        item = self._conversation.find(self._item_id)
        async for pcm in self._wire.brain.speak(self._text):
            item.audio_bytes += len(pcm)
            await self._delta("response.output_audio.delta", base64.b64encode(pcm).decode())
        await self.end("completed")

    async def cancelled(self) -> None:
        """Say that the reply was cancelled, if it had begun."""
        if self._created and not self._ended:
            self._log("cancelled")
            await self.end("cancelled")

    async def _begin_item(self) -> None:
        previous = self._conversation.last_id
        item = self._conversation.add(self._item_id, "assistant", "", [])
        where = {"response_id": self.id, "output_index": 0}
        await self._send("response.output_item.added", item=item, **where)
        await self._send("conversation.item.added", item=item, previous_item_id=previous)
        part = {"type": "audio", "transcript": ""}
        await self._send(
            "response.content_part.added",
            item_id=self._item_id,
            content_index=0,
            part=part,
            **where,
        )

    async def _delta(self, kind: str, delta: str) -> None:
        where = {"response_id": self.id, "item_id": self._item_id, "output_index": 0}
        await self._send(kind, delta=delta, content_index=0, **where)

    async def end(self, status: str) -> None:
        """Say how the reply ended, once, if it had begun."""
        if not self._created or self._ended:
            return
        where = {"response_id": self.id, "output_index": 0}
        content = [{"type": "output_audio", "transcript": self._text}]
        item = wire_item(self._item_id, "assistant", content)
        await self._send(
            "response.output_audio.done", item_id=self._item_id, content_index=0, **where
        )
        await self._send("response.output_item.done", item=item, **where)
        self._ended = True
        await self._send("response.done", response=self._response(status, [item]))

    def _log(self, event: str) -> None:
        text = self._text.strip()
        self._wire.log.add(
            Stage.REALTIME, event, self._connection, text=text, item_id=self._item_id
        )

    def _response(self, status: str, output: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        tokens = len(self._text) // 4 + 1
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": None,
            "output": output or [],
            "metadata": self._metadata,
            "usage": {"total_tokens": tokens, "input_tokens": 0, "output_tokens": tokens},
        }
