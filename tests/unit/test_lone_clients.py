"""A client in a room without an agent gets another one, whatever fails on the way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from livekit import api, rtc
from livekit.protocol.agent_dispatch import AgentDispatch, CreateAgentDispatchRequest
from livekit.protocol.models import ParticipantInfo

from agent.worker import lone_clients as lone
from agent.worker import presence
from agent.worker.lone_clients import LoneClients, waits


class Server:
    """LiveKit's API over one room with one client in it."""

    def __init__(self) -> None:
        self.dispatches = {"D1": AgentDispatch(id="D1", agent_name="coach", metadata="m")}
        self.refuses = False
        self.deletes_first = False
        self.room = self.agent_dispatch = self

    async def list_rooms(self, _: Any) -> Any:
        return SimpleNamespace(rooms=[SimpleNamespace(name="r")])

    async def list_participants(self, _: Any) -> Any:
        client = ParticipantInfo(identity="client-7", state=ParticipantInfo.State.ACTIVE)
        return SimpleNamespace(participants=[client])

    async def list_dispatch(self, _: str) -> list[AgentDispatch]:
        return list(self.dispatches.values())

    async def create_dispatch(self, wanted: CreateAgentDispatchRequest) -> None:
        if self.refuses:
            raise api.TwirpError(api.TwirpErrorCode.UNAVAILABLE, "no", status=503)
        made = AgentDispatch(id="D2", agent_name=wanted.agent_name, metadata=wanted.metadata)
        self.dispatches[made.id] = made
        if self.deletes_first:
            del self.dispatches["D1"]

    async def delete_dispatch(self, dispatch_id: str, _: str) -> None:
        if dispatch_id not in self.dispatches:
            raise api.TwirpError(api.TwirpErrorCode.NOT_FOUND, "gone", status=404)
        del self.dispatches[dispatch_id]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def lone_clients(server: Server) -> LoneClients:
    livekit: Any = server
    return LoneClients(livekit, "coach", 0, served=list)


async def test_the_room_has_one_dispatch_again_with_what_the_first_one_asked_for(
    server: Server, lone_clients: LoneClients
) -> None:
    await lone_clients.look()
    [dispatch] = server.dispatches.values()
    assert (dispatch.id, dispatch.metadata) == ("D2", "m")


async def test_a_call_that_fails_is_made_again(server: Server, lone_clients: LoneClients) -> None:
    """The room keeps its old dispatch meanwhile: by that it is known to be ours."""
    server.refuses = True
    with pytest.raises(api.TwirpError):
        await lone_clients.look()
    server.refuses = False
    await lone_clients.look()
    assert [d.id for d in server.dispatches.values()] == ["D2"]


async def test_another_worker_that_was_quicker_is_no_failure(
    server: Server, lone_clients: LoneClients
) -> None:
    server.deletes_first = True
    await lone_clients.look()
    assert list(server.dispatches) == ["D2"]


@pytest.mark.parametrize(
    ("kind", "waiting"), [("STANDARD", True), ("SIP", True), ("EGRESS", False), ("INGRESS", False)]
)
def test_only_who_can_be_coached_waits_for_an_agent(kind: str, waiting: bool) -> None:
    """A recording, or a stream that is fed in, is nobody; an agent would wait for ever."""
    active = ParticipantInfo.State.ACTIVE
    someone = ParticipantInfo(identity="x", state=active, kind=ParticipantInfo.Kind.Value(kind))
    assert waits([someone]) is waiting


def test_a_job_and_who_calls_for_it_take_the_same_for_people() -> None:
    called_for = {ParticipantInfo.Kind.Name(kind) for kind in lone.PEOPLE}
    names = {rtc.ParticipantKind.Name(kind) for kind in presence.PEOPLE}
    assert called_for == {name.removeprefix("PARTICIPANT_KIND_") for name in names}
