"""A LiveKit server that answers is there, however many rooms it has and however slow they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import api
from livekit.protocol.models import ParticipantInfo

from agent.doctor import livekit
from agent.doctor.check import Level
from agent.settings import Settings

CLIENT = ParticipantInfo(identity="client-7", state=ParticipantInfo.State.ACTIVE)


class Server:
    """In the rooms `alone` a client waits, `stuck` ones never answer, `broken` ones fail."""

    def __init__(self, **rooms: list[str]) -> None:
        self.rooms = rooms
        self.names = [name for some in rooms.values() for name in some]
        self.room = self.agent_dispatch = self

    async def list_rooms(self, _: object) -> Any:
        return SimpleNamespace(rooms=[SimpleNamespace(name=name) for name in self.names])

    async def list_participants(self, asked: Any) -> Any:
        if asked.room in self.rooms.get("stuck", ()):
            await asyncio.Event().wait()
        if asked.room in self.rooms.get("broken", ()):
            raise api.TwirpError("unavailable", "", status=503)
        alone = asked.room in self.rooms.get("alone", ())
        return SimpleNamespace(participants=[CLIENT] if alone else [])

    async def list_dispatch(self, _: str) -> Any:
        return [SimpleNamespace(agent_name="voice-coach")]


async def seen(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Level, str]]:
    @asynccontextmanager
    async def connected(_: Settings) -> AsyncIterator[Server]:
        yield server

    monkeypatch.setattr(livekit, "livekit_api", connected)
    monkeypatch.setattr(livekit, "ROOMS_SECONDS", 0.2)
    checks = await livekit.examine(Settings())
    return {check.name: (check.level, check.found) for check in checks}


async def test_of_rooms_that_do_not_answer_nothing_is_said_and_of_the_others_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rooms = Server(stuck=["a", "b"], broken=["c"], alone=["d", "e"], empty=["f"])
    assert await seen(rooms, monkeypatch) == {
        "reachable": (Level.OK, "yes"),
        "rooms": (Level.OK, "6, 3 seen"),
        "clients without an agent": (Level.BAD, "2"),
    }


async def test_a_server_without_rooms_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await seen(Server(), monkeypatch) == {
        "reachable": (Level.OK, "yes"),
        "rooms": (Level.OK, "0"),
    }
