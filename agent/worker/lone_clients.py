"""Nobody waits alone: a client in a room without an agent gets another one, and the log says why.

LiveKit dispatches an agent once. If no worker was free at that moment, or the worker died, it does
not call a second one by itself (livekit/agents#1472). So every worker looks at the rooms regularly:
those where this deployment's agent was dispatched, a client is there and no agent is. Several
workers may see the same room; the second agent that comes leaves by itself (`presence`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from livekit import api
from livekit.protocol.agent import JobStatus
from livekit.protocol.agent_dispatch import AgentDispatch, CreateAgentDispatchRequest
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.room import ListParticipantsRequest, ListRoomsRequest

from agent.settings import Settings, secret
from agent.worker.people import person_of
from persistence.events import Role

log = structlog.get_logger("coach.lone_clients")

LONGEST_DOUBLINGS = 4
"""A room is called for again after 1, 2, 4, 8 and then always 16 times the first wait."""

PEOPLE = frozenset(
    {
        ParticipantInfo.Kind.STANDARD,
        ParticipantInfo.Kind.SIP,
        ParticipantInfo.Kind.CONNECTOR,
        ParticipantInfo.Kind.BRIDGE,
    }
)
"""As `presence` has them: here without what touches audio."""

ROOMS_A_LOOK = 50
"""Rooms looked into at one time; the others have their turn at the next."""


@dataclass
class LoneClients:
    """Looks after the rooms of one LiveKit server, for one agent name.

    `served` gives the rooms that this worker serves itself: they need no look.
    """

    livekit: api.LiveKitAPI
    agent_name: str
    wait_seconds: float
    served: Callable[[], Collection[str]]
    agents_called: int = 0
    """How many were called by this worker."""
    _since: dict[str, float] = field(default_factory=dict)
    _calls: dict[str, int] = field(default_factory=dict)
    _next: int = 0

    async def run(self) -> None:
        """Look until cancelled; a LiveKit server that does not answer is asked again later."""
        while True:
            # several workers must not all dispatch at the same instant
            await asyncio.sleep(self.wait_seconds * random.uniform(0.2, 0.4))  # noqa: S311
            try:
                await self.look()
            except (TimeoutError, api.TwirpError, OSError) as error:
                log.warning("rooms_unknown", error=type(error).__name__)

    async def look(self) -> None:
        """Look into the rooms once, and call an agent where a client has waited long enough."""
        waiting = [name for name in await self._rooms() if await self._waits(name)]
        now = time.monotonic()
        self._since = {name: self._since.get(name, now) for name in waiting}
        self._calls = {name: self._calls.get(name, 0) for name in waiting}
        for name, since in list(self._since.items()):
            # an overloaded worker is not helped by more calls for the same room
            if now - since >= self.wait_seconds * 2 ** min(self._calls[name], LONGEST_DOUBLINGS):
                await self._call_agent(name, waited=now - since)

    async def _rooms(self) -> list[str]:
        listed = await self.livekit.room.list_rooms(ListRoomsRequest())
        served = set(self.served())
        names = sorted(r.name for r in listed.rooms if r.name not in served)
        urgent = [name for name in names if name in self._since]
        first = self._next % len(names) if names else 0
        self._next = first + ROOMS_A_LOOK
        turn = (names[first:] + names[:first])[:ROOMS_A_LOOK]
        return list(dict.fromkeys(urgent + turn))

    async def _waits(self, name: str) -> bool:
        try:
            listed = await self.livekit.room.list_participants(ListParticipantsRequest(room=name))
        except api.TwirpError as error:
            if error.code == api.TwirpErrorCode.NOT_FOUND:
                return False  # the room closed between the two questions
            raise
        return waits(listed.participants) and bool(await self._dispatches(name))

    async def _dispatches(self, name: str) -> list[AgentDispatch]:
        dispatches = await self.livekit.agent_dispatch.list_dispatch(name)
        return [d for d in dispatches if d.agent_name == self.agent_name]

    async def _call_agent(self, name: str, *, waited: float) -> None:
        stale = await self._dispatches(name)
        metadata = stale[-1].metadata if stale else ""
        # the new one first: a room that has none is not ours to look after
        await self.livekit.agent_dispatch.create_dispatch(
            CreateAgentDispatchRequest(agent_name=self.agent_name, room=name, metadata=metadata)
        )
        self._since[name] = time.monotonic()
        self._calls[name] += 1
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


@asynccontextmanager
async def livekit_api(settings: Settings) -> AsyncIterator[api.LiveKitAPI]:
    """Return LiveKit's API client for the block's time."""
    livekit = api.LiveKitAPI(
        settings.livekit_url, settings.livekit_api_key, secret(settings.livekit_api_secret)
    )
    try:
        yield livekit
    finally:
        await livekit.aclose()
