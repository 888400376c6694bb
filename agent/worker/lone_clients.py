"""Nobody waits alone: a client in a room without an agent gets another one, and the log says why.

LiveKit dispatches an agent once. If no worker was free at that moment, or the worker died, it does
not call a second one by itself (livekit/agents#1472). So every worker looks at the rooms regularly:
those where this deployment's agent was dispatched, a client is there and no agent is. Several
workers may see the same room; the second agent that comes leaves by itself (`presence`).

One whose agent broke off gets the next at once, and that one says so. Only where no agent has been
yet, because it may be on its way, a client waits for a while.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import structlog
from livekit import api
from livekit.protocol.agent import JobStatus
from livekit.protocol.agent_dispatch import AgentDispatch, CreateAgentDispatchRequest
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.room import (
    ListParticipantsRequest,
    ListRoomsRequest,
    RoomParticipantIdentity,
)

from agent.worker.livekit_client import UNANSWERED
from agent.worker.lost_agents import LostAgents
from agent.worker.options import RESUMED
from agent.worker.people import person_of
from persistence.events import Role

log = structlog.get_logger("coach.lone_clients")

LONGEST_DOUBLINGS = 4
"""A room is called for again after 1, 2, 4, 8 and then always 16 times the first wait."""

AWAY_DOUBLINGS = 2
"""A LiveKit that does not answer is asked after 2, and then always after 4 times the usual pause:
who waits in one that is back waits for this, too."""

NOTE_SECONDS = 0.1
"""How often it is noted whose jobs run; LiveKit believes for 20 s in one that nobody noted."""

PEOPLE = frozenset(
    {
        ParticipantInfo.Kind.STANDARD,
        ParticipantInfo.Kind.SIP,
        ParticipantInfo.Kind.CONNECTOR,
        ParticipantInfo.Kind.BRIDGE,
    }
)
"""As `presence` has them: here without what touches audio."""

AT_ONCE_SECONDS = 30.0
"""A room gets an agent at once for one that broke off; for the next so soon after it, it waits."""

REMOVAL_SECONDS = 5.0
"""How long LiveKit may take to remove a lost agent."""

ROOMS_A_LOOK = 50
"""Rooms looked into at one time; the others have their turn at the next."""


@dataclass
class LoneClients:
    """Looks after the rooms of one LiveKit server, for one agent name.

    `agents` are those of this worker: the rooms of those that run need no look. `now` is the time
    by that server's clock, in seconds since 1970.
    """

    livekit: api.LiveKitAPI
    agent_name: str
    wait_seconds: float
    agents: LostAgents
    now: Callable[[], float] = time.time
    agents_called: int = 0
    """How many were called by this worker."""
    _since: dict[str, float] = field(default_factory=dict)
    _calls: dict[str, int] = field(default_factory=dict)
    _at_once: dict[str, float] = field(default_factory=dict)
    _next: int = 0
    _unanswered: int = 0

    async def run(self, registered: asyncio.Event) -> None:
        """Look until cancelled; a LiveKit server that does not answer is asked again later.

        Nobody is called before this worker is `registered`: what no worker hears is not heard
        later. But who is dead is out of the room at once, and the client sees it.
        """
        await self._take_out_the_lost()
        await registered.wait()
        while True:
            # several workers must not all dispatch at the same instant
            pause = self.wait_seconds * random.uniform(0.2, 0.4)  # noqa: S311
            await self._pause(pause * 2 ** min(self._unanswered, AWAY_DOUBLINGS))
            try:
                await self.look()
            except UNANSWERED as error:
                if not self._unanswered:
                    log.warning("rooms_unknown", error=type(error).__name__)
                self._unanswered += 1
            else:
                if self._unanswered:
                    log.info("rooms_known_again", unanswered=self._unanswered)
                self._unanswered = 0

    async def _pause(self, seconds: float) -> None:
        """Let time pass, noting all the while whose jobs run: one may die as soon as it does."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.agents.note()
            await asyncio.sleep(min(left, NOTE_SECONDS))

    async def look(self) -> None:
        """Look into the rooms once, and call an agent where a client has waited long enough."""
        for room in await self._take_out_the_lost():
            dispatches = await self._waiting(room)
            if dispatches and self._may_be_called_at_once(room):
                await self._call_agent(room, dispatches, waited=0.0, resumed=True)
        waiting = {name: await self._waiting(name) for name in await self._rooms()}
        now = time.monotonic()
        waiting = {name: dispatches for name, dispatches in waiting.items() if dispatches}
        self._since = {name: self._since.get(name, now) for name in waiting}
        self._calls = {name: self._calls.get(name, 0) for name in waiting}
        for name, dispatches in waiting.items():
            waited, calls = now - self._since[name], self._calls[name]
            gone = not calls and broke_off(dispatches, self.now() - self.wait_seconds)
            # an overloaded worker is not helped by more calls for the same room
            long_enough = waited >= self.wait_seconds * 2 ** min(calls, LONGEST_DOUBLINGS)
            if long_enough or (gone and self._may_be_called_at_once(name)):
                await self._call_agent(name, dispatches, waited=waited, resumed=gone)

    def _may_be_called_at_once(self, name: str) -> bool:
        """Return whether the room has had no agent at once lately: one may die of the room itself.

        Once this was true, it is not for a while.
        """
        now = time.monotonic()
        self._at_once = {n: t for n, t in self._at_once.items() if now - t < AT_ONCE_SECONDS}
        return self._at_once.setdefault(name, now) == now

    async def _take_out_the_lost(self) -> list[str]:
        """Remove agents whose jobs have died; return the rooms that did not know it.

        One that LiveKit does not let go of holds up nobody: it is tried again at the next look.
        """
        rooms: list[str] = []
        for agent, room in self.agents.look().items():
            try:
                async with asyncio.timeout(REMOVAL_SECONDS):
                    there = await self._removed(agent, room)
            except UNANSWERED as error:
                log.warning("lost_agent_stays", error=type(error).__name__)
                continue
            self.agents.settle(agent)
            if there:
                log.warning("lost_agent_removed")
                rooms.append(room)
        return rooms

    async def _removed(self, agent: str, room: str) -> bool:
        """Remove `agent`; return whether it was there, which none is that left in order."""
        try:
            await self.livekit.room.remove_participant(
                RoomParticipantIdentity(room=room, identity=agent)
            )
        except api.TwirpError as error:
            if error.code == api.TwirpErrorCode.NOT_FOUND:
                return False
            raise
        return True

    async def _rooms(self) -> list[str]:
        listed = await self.livekit.room.list_rooms(ListRoomsRequest())
        served = set(self.agents.running.values())
        names = sorted(r.name for r in listed.rooms if r.name not in served)
        urgent = [name for name in names if name in self._since]
        first = self._next % len(names) if names else 0
        self._next = first + ROOMS_A_LOOK
        turn = (names[first:] + names[:first])[:ROOMS_A_LOOK]
        return list(dict.fromkeys(urgent + turn))

    async def _waiting(self, name: str) -> list[AgentDispatch]:
        """Return the calls for an agent in a room where a client waits for one; else nothing."""
        try:
            listed = await self.livekit.room.list_participants(ListParticipantsRequest(room=name))
        except api.TwirpError as error:
            if error.code == api.TwirpErrorCode.NOT_FOUND:
                return []  # the room closed between the two questions
            raise
        return await self._dispatches(name) if waits(listed.participants) else []

    async def _dispatches(self, name: str) -> list[AgentDispatch]:
        dispatches = await self.livekit.agent_dispatch.list_dispatch(name)
        return [d for d in dispatches if d.agent_name == self.agent_name]

    async def _call_agent(
        self, name: str, stale: list[AgentDispatch], *, waited: float, resumed: bool
    ) -> None:
        metadata = resuming(stale[-1].metadata, resumed=resumed)
        # the new one first: a room that has none is not ours to look after
        await self.livekit.agent_dispatch.create_dispatch(
            CreateAgentDispatchRequest(agent_name=self.agent_name, room=name, metadata=metadata)
        )
        self._since[name] = time.monotonic()
        self._calls[name] = self._calls.get(name, 0) + 1
        self.agents_called += 1
        log.warning("agent_called_again", waited_seconds=round(waited, 1), reason=why(stale))
        for dispatch in stale:
            await self._delete(dispatch.id, name)

    async def _delete(self, dispatch_id: str, room: str) -> None:
        try:
            await self.livekit.agent_dispatch.delete_dispatch(dispatch_id, room)
        except api.TwirpError as error:
            if error.code != api.TwirpErrorCode.NOT_FOUND:
                raise  # else another worker was quicker


def waits(participants: Collection[ParticipantInfo]) -> bool:
    """Return whether a client is among `participants`, and no agent is."""
    if any(p.kind == ParticipantInfo.Kind.AGENT for p in participants):
        return False
    return any(
        person_of(p.identity, p.attributes).role is Role.CLIENT
        for p in participants
        if p.state == ParticipantInfo.State.ACTIVE and p.kind in PEOPLE
    )


def why(dispatches: Collection[AgentDispatch]) -> str:
    """Return why a room with these dispatches has no agent, as far as the server knows."""
    jobs = [job for dispatch in dispatches for job in dispatch.state.jobs]
    if not jobs:
        return "no_worker_was_free"
    states = {JobStatus.Name(job.state.status) for job in jobs}
    if states & {"JS_FAILED", "JS_SUCCESS"}:
        return "the_agent_left"
    return "the_worker_is_lost"


def broke_off(dispatches: Collection[AgentDispatch], arrived: float) -> bool:
    """Return whether there must have been an agent, and did not leave in order.

    One that was sent into the room after `arrived` (seconds since 1970) may be on its way.
    """
    states = [job.state for dispatch in dispatches for job in dispatch.state.jobs]
    return any(
        state.status == JobStatus.JS_FAILED
        or (state.status == JobStatus.JS_RUNNING and 0 < state.started_at / 1e9 < arrived)
        for state in states
    )


def resuming(metadata: str, *, resumed: bool) -> str:
    """Return what a call said, `metadata`, and whether a conversation has been broken off.

    What the call before it said of that is over. What is no JSON object stays as it is: it is not
    ours to mend.
    """
    try:
        options = json.loads(metadata) if metadata.strip() else {}
    except (ValueError, RecursionError):
        return metadata
    if not isinstance(options, dict) or (not resumed and RESUMED not in options):
        return metadata
    others = {name: value for name, value in options.items() if name != RESUMED}
    return json.dumps({**others, RESUMED: True} if resumed else others)
