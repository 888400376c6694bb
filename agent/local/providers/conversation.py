"""The items of a Realtime conversation, as its server keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from agent.local.providers.brain import SPEECH_RATE, Message
from agent.local.providers.openai import text_of
from agent.local.providers.wire import ProtocolError

MAX_ITEMS = 10_000
_ROLES = frozenset({"system", "user", "assistant"})


def new_id(prefix: str) -> str:
    """Return an id as OpenAI's look."""
    return f"{prefix}_{uuid4().hex[:21]}"


@dataclass
class Item:
    id: str
    role: str
    text: str
    audio_bytes: int = 0
    """Of a reply: how much speech was made of it, at `SPEECH_RATE`."""


class Conversation:
    """Messages in order."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    @property
    def last_id(self) -> str | None:
        return self._items[-1].id if self._items else None

    @property
    def messages(self) -> list[Message]:
        return [Message(item.role, item.text) for item in self._items]

    def add(self, id_: str, role: str, text: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        """Add an item at the end and return it as it goes over the wire, with `content`."""
        self._items.append(Item(id_, role, text))
        del self._items[:-MAX_ITEMS]
        return wire_item(id_, role, content)

    def create(self, item: dict[str, Any], after: str | None) -> tuple[dict[str, Any], str | None]:
        """Add a client's item after another ("root": first; None: last).

        Returns it as it goes over the wire, and the id before it. Raises ProtocolError for what is
        no message, for a taken id, and for an unknown one before it.
        """
        role, content = item.get("role"), item.get("content")
        if item.get("type") != "message" or role not in _ROLES or not isinstance(content, list):
            raise ProtocolError("only messages can be created")
        id_ = str(item.get("id") or new_id("item"))
        if any(other.id == id_ for other in self._items):
            raise ProtocolError("the item's id is taken", "item_create_duplicate_item_id")
        place = self._place(after)
        self._items.insert(place, Item(id_, str(role), text_of(content)))
        return wire_item(id_, str(role), content), self._items[place - 1].id if place else None

    def delete(self, id_: str) -> None:
        """Take an item out; raises ProtocolError where there is none of that id."""
        self._items.remove(self.find(id_))

    def truncate(self, id_: str, audio_end_ms: int) -> None:
        """Cut a reply to what was played of it, in proportion; raises ProtocolError as `delete`."""
        item = self.find(id_)
        played = audio_end_ms * SPEECH_RATE * 2 // 1000
        if item.audio_bytes > played:
            item.text = item.text[: len(item.text) * played // item.audio_bytes]
            item.audio_bytes = played

    def find(self, id_: str) -> Item:
        """Return an item; raises ProtocolError where there is none of that id."""
        for item in self._items:
            if item.id == id_:
                return item
        raise ProtocolError("there is no item of that id")

    def _place(self, after: str | None) -> int:
        if after is None:
            return len(self._items)
        return 0 if after == "root" else self._items.index(self.find(after)) + 1


def wire_item(id_: str, role: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a message as it goes over the wire."""
    return {
        "id": id_,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": role,
        "content": content,
    }
