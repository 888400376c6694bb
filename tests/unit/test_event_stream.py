"""Server-sent events as they are sent: all that is there at once, and a sign of life meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from agent.api import event_stream
from agent.api.event_stream import EventStream
from agent.api.following import Event, Watcher


class Sent:
    """What was sent of a stream whose watcher has `given`; `leave` tells that it was given up."""

    def __init__(self, *given: Event | None) -> None:
        self.watcher, self.left = Watcher(uuid4()), False
        self.messages: list[dict[str, Any]] = []
        for event in given:
            self.watcher.give(event)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Watcher]:
        try:
            yield self.watcher
        finally:
            self.left = True

    async def send(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.messages[1:]]


async def test_what_has_waited_goes_in_one_piece_and_the_end_closes_the_stream() -> None:
    sent = Sent(Event("1-1", "turn", "{}"), Event("1-1", "end", '{"a":1}'), None)
    await EventStream(sent.watching()).stream_response(sent.send)
    assert sent.bodies == [
        b'event: turn\ndata: {}\nid: 1-1\n\nevent: end\ndata: {"a":1}\nid: 1-1\n\n'
    ]
    assert sent.messages[-1]["more_body"] is False
    assert sent.left


async def test_where_nothing_happens_there_is_a_sign_of_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_stream, "KEEPALIVE_SECONDS", 0.01)
    sent = Sent()

    async def until_alive(message: Any) -> None:
        await sent.send(message)
        if message.get("body") == event_stream.KEEPALIVE:
            sent.watcher.give(None)

    await EventStream(sent.watching()).stream_response(until_alive)
    assert set(sent.bodies[:-1]) == {event_stream.KEEPALIVE}
    assert sent.bodies[-1] == b""


async def test_a_stream_that_breaks_off_gives_its_watcher_up() -> None:
    sent = Sent(Event("1-1", "turn", "{}"))

    async def broken(message: Any) -> None:
        if "body" in message:
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 any will do
        await EventStream(sent.watching()).stream_response(broken)
    assert sent.left
