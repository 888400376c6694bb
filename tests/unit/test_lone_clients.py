"""A client in a room without an agent gets another one, whatever fails on the way."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import aiohttp
import pytest
import structlog
from journaling import ROOMY, started
from livekit import api, rtc
from livekit.protocol.agent import Job, JobState, JobStatus
from livekit.protocol.agent_dispatch import (
    AgentDispatch,
    AgentDispatchState,
    CreateAgentDispatchRequest,
)
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.room import RoomParticipantIdentity

from agent.worker import lone_clients as lone
from agent.worker import lost_agents, presence
from agent.worker.lone_clients import LoneClients, waits
from agent.worker.lost_agents import LostAgents, left_by_dead_jobs
from persistence.journal import JournalWriter
from persistence.journal.lines import encode

LONG_AGO, JUST_NOW = 1, 2**62
"""When a job began, in nanoseconds since 1970; what is later than now is recent however long the
tests take."""


class Server:
    """LiveKit's API over one room with one client in it."""

    def __init__(self) -> None:
        self.dispatches = {"D1": AgentDispatch(id="D1", agent_name="coach", metadata="m")}
        self.agents: list[str] = []
        self.refuses = False
        self.deletes_first = False
        self.room = self.agent_dispatch = self

    async def list_rooms(self, _: Any) -> Any:
        return SimpleNamespace(rooms=[SimpleNamespace(name="r")])

    async def list_participants(self, _: Any) -> Any:
        client = ParticipantInfo(identity="client-7", state=ParticipantInfo.State.ACTIVE)
        agents = [
            ParticipantInfo(identity=name, kind=ParticipantInfo.Kind.AGENT) for name in self.agents
        ]
        return SimpleNamespace(participants=[client, *agents])

    async def remove_participant(self, lost: RoomParticipantIdentity) -> None:
        if lost.identity not in self.agents:
            raise api.TwirpError(api.TwirpErrorCode.NOT_FOUND, "gone", status=404)
        self.agents.remove(lost.identity)

    def ran(self, status: JobStatus, *, since: int, metadata: str = "") -> None:
        """Let the room have had a job."""
        state = JobState(status=status, started_at=since)
        dispatch_state = AgentDispatchState(jobs=[Job(id="J1", state=state)])
        self.dispatches["D1"] = AgentDispatch(
            id="D1", agent_name="coach", metadata=metadata, state=dispatch_state
        )

    @property
    def wanted(self) -> list[str]:
        """What the calls other than the first say."""
        return [call.metadata for key, call in self.dispatches.items() if key != "D1"]

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
    return LoneClients(livekit, "coach", 0, LostAgents(dict))


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
    someone = ParticipantInfo(identity="x", state=active, kind=kind)
    assert waits([someone]) is waiting


def test_a_job_and_who_calls_for_it_take_the_same_for_people() -> None:
    called_for = {ParticipantInfo.Kind.Name(kind) for kind in lone.PEOPLE}
    names = {rtc.ParticipantKind.Name(kind) for kind in presence.PEOPLE}
    assert called_for == {name.removeprefix("PARTICIPANT_KIND_") for name in names}


PATIENT = 3600.0
"""Seconds; nobody waits for so long here."""


async def test_an_agent_whose_job_died_is_taken_out_of_its_room_and_another_one_called(
    server: Server,
) -> None:
    """LiveKit believes in the dead one for 20 s; the next one is told that it takes over."""
    running = {"agent-J1": "r"}
    server.agents = ["agent-J1"]
    server.ran(JobStatus.JS_RUNNING, since=JUST_NOW, metadata='{"language": "de"}')
    lone_clients = LoneClients(cast("Any", server), "coach", PATIENT, LostAgents(lambda: running))
    await lone_clients.look()
    assert (server.agents, server.wanted) == (["agent-J1"], [])
    running.clear()
    await lone_clients.look()
    assert (server.agents, lone_clients.agents_called) == ([], 1)
    assert [json.loads(metadata) for metadata in server.wanted] == [
        {"language": "de", "resumed": True}
    ]
    await lone_clients.look()
    assert lone_clients.agents_called == 1


async def test_an_agent_whose_job_dies_as_soon_as_it_runs_is_taken_out_as_well(
    server: Server,
) -> None:
    """It comes and goes between two looks, the first of which is after 1 s."""
    jobs: dict[str, str] = {}
    server.agents, registered = ["agent-J1"], asyncio.Event()
    registered.set()
    lone_clients = LoneClients(cast("Any", server), "coach", 5, LostAgents(lambda: jobs))
    running = asyncio.create_task(lone_clients.run(registered))
    later = asyncio.get_running_loop().call_later
    later(0.1, jobs.setdefault, "agent-J1", "r")
    later(0.5, jobs.clear)
    async with asyncio.timeout(5):
        while server.agents or not lone_clients.agents_called:  # noqa: ASYNC110 nothing tells
            await asyncio.sleep(0.01)
    running.cancel()


async def test_who_died_with_an_earlier_worker_is_out_before_another_one_can_be_called(
    server: Server,
) -> None:
    """The client sees it; a call that no worker hears would be lost, and the next one late."""
    server.agents, registered = ["agent-J1"], asyncio.Event()
    server.ran(JobStatus.JS_RUNNING, since=LONG_AGO)
    agents = LostAgents(dict, {"agent-J1": "r"})
    lone_clients = LoneClients(cast("Any", server), "coach", 0.01, agents)
    running = asyncio.create_task(lone_clients.run(registered))
    while server.agents:  # noqa: ASYNC110 nothing tells
        await asyncio.sleep(0.01)
    assert lone_clients.agents_called == 0
    registered.set()
    while not server.wanted:  # noqa: ASYNC110 nothing tells
        await asyncio.sleep(0.01)
    assert server.wanted == ['{"resumed": true}']
    running.cancel()


async def test_an_agent_that_left_in_order_is_not_missed(server: Server) -> None:
    running = {"agent-J1": "r"}
    server.ran(JobStatus.JS_SUCCESS, since=LONG_AGO)
    lone_clients = LoneClients(cast("Any", server), "coach", PATIENT, LostAgents(lambda: running))
    await lone_clients.look()
    running.clear()
    await lone_clients.look()
    assert lone_clients.agents_called == 0


async def test_an_agent_that_cannot_be_removed_now_is_removed_later(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.agents = ["agent-J1"]
    agents = LostAgents(dict, {"agent-J1": "r"})
    lone_clients = LoneClients(cast("Any", server), "coach", PATIENT, agents)
    with monkeypatch.context() as patched:
        patched.setattr(server, "remove_participant", _fails)
        await lone_clients.look()
    assert lone_clients.agents_called == 0
    await lone_clients.look()
    assert (server.agents, lone_clients.agents_called) == ([], 1)


async def test_an_agent_that_cannot_be_removed_keeps_nobody_else_waiting(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in a room of its own, however often it is tried, nor for ever."""
    monkeypatch.setattr(server, "remove_participant", _fails)
    agents = LostAgents(dict, {"agent-J1": "elsewhere"})
    lone_clients = LoneClients(cast("Any", server), "coach", 0, agents)
    await lone_clients.look()
    assert lone_clients.agents_called == 1
    assert agents.look()
    monkeypatch.setattr(lost_agents, "BELIEVED_SECONDS", -1)
    assert not agents.look()


async def test_agents_that_die_one_after_the_other_are_not_called_for_at_once_each_time(
    server: Server,
) -> None:
    """Something in the room may be what they die of."""
    running: dict[str, str] = {}
    lone_clients = LoneClients(cast("Any", server), "coach", PATIENT, LostAgents(lambda: running))
    for agent in ("agent-J1", "agent-J2", "agent-J3"):
        running[agent] = "r"
        server.agents = [agent]
        await lone_clients.look()
        running.clear()
        await lone_clients.look()
        assert server.agents == []
        assert lone_clients.agents_called == 1


async def test_an_agent_says_that_it_takes_over_only_from_one_that_was_lost(
    server: Server,
) -> None:
    """The call before it may have said so, for a conversation that has since come to its end."""
    server.ran(JobStatus.JS_SUCCESS, since=LONG_AGO, metadata='{"language": "de", "resumed": true}')
    lone_clients = LoneClients(cast("Any", server), "coach", 0, LostAgents(dict))
    await lone_clients.look()
    assert server.wanted == ['{"language": "de"}']


async def _fails(_: Any) -> None:
    raise aiohttp.ServerDisconnectedError  # as one that is killed does; it is no OSError


@pytest.mark.parametrize(
    ("status", "since", "called"),
    [
        (JobStatus.JS_RUNNING, LONG_AGO, 1),
        (JobStatus.JS_FAILED, LONG_AGO, 1),
        (JobStatus.JS_RUNNING, JUST_NOW, 0),
        (JobStatus.JS_SUCCESS, LONG_AGO, 0),
        (JobStatus.JS_PENDING, 0, 0),
    ],
)
async def test_only_a_client_who_has_had_an_agent_gets_the_next_at_once(
    server: Server, status: JobStatus, since: int, called: int
) -> None:
    """A first one may be on its way; one that left in order left somebody who stayed."""
    server.ran(status, since=since)
    lone_clients = LoneClients(cast("Any", server), "coach", PATIENT, LostAgents(dict))
    await lone_clients.look()
    assert lone_clients.agents_called == called
    assert server.wanted == ['{"resumed": true}'] * called


@pytest.mark.parametrize(("began", "called"), [(-1, 0), (-10, 1)])
async def test_when_an_agent_was_sent_is_by_livekits_clock(
    server: Server, began: float, called: int
) -> None:
    """This machine's clock may be an hour off: an agent is on its way for 5 s all the same."""
    livekits = time.time() + 3600
    server.ran(JobStatus.JS_RUNNING, since=round((livekits + began) * 1e9))
    agents = LostAgents(dict)
    lone_clients = LoneClients(cast("Any", server), "coach", 5, agents, lambda: livekits)
    await lone_clients.look()
    assert lone_clients.agents_called == called


async def test_a_livekit_that_is_away_is_told_of_once_and_so_is_its_return(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it is asked less often."""
    pauses: list[float] = []
    monkeypatch.setattr(random, "uniform", lambda *_: 1.0)

    async def asked_after(_: LoneClients, seconds: float) -> None:
        pauses.append(seconds)
        monkeypatch.setattr(server, "list_rooms", listed if 5 < len(pauses) < 8 else _fails)
        if len(pauses) == 10:
            raise asyncio.CancelledError

    listed, registered = server.list_rooms, asyncio.Event()
    registered.set()
    monkeypatch.setattr(LoneClients, "_pause", asked_after)
    lone_clients = LoneClients(cast("Any", server), "coach", 1, LostAgents(dict))
    with structlog.testing.capture_logs() as logged, pytest.raises(asyncio.CancelledError):
        await lone_clients.run(registered)
    assert [entry["event"] for entry in logged] == [
        "rooms_unknown", "rooms_known_again", "rooms_unknown"
    ]  # fmt: skip
    assert pauses == [1, 2, 4, 4, 4, 4, 1, 1, 2, 4]


def test_who_takes_a_folder_over_knows_whose_jobs_have_just_died(tmp_path: Path) -> None:
    for age, job in ((0, "just-now"), (3600, "long-ago")):
        path = tmp_path / f"{uuid4()}.journal"
        start = started().model_copy(update={"job_id": job})
        path.write_bytes(encode(start))
        os.utime(path, (time.time() - age, time.time() - age))
    alive = JournalWriter.create(tmp_path, uuid4(), max_bytes=ROOMY)
    alive.append(started().model_copy(update={"job_id": "alive"}))
    try:
        assert left_by_dead_jobs(tmp_path) == {"agent-just-now": "room"}
    finally:
        alive.close(5)
