"""Who is in the room: the client that a job is there for, and other agents that came first."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from livekit import rtc
from livekit.agents import JobContext
from livekit.agents.types import ATTRIBUTE_AGENT_NAME, ATTRIBUTE_AGENT_STATE

from agent.worker.people import Person, person_of
from persistence.events import Role

PEOPLE = frozenset(
    {
        rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD,
        rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
        rtc.ParticipantKind.PARTICIPANT_KIND_CONNECTOR,
        rtc.ParticipantKind.PARTICIPANT_KIND_BRIDGE,
    }
)


@dataclass(frozen=True)
class Arrival:
    """A client who is there: the identity as LiveKit knows it, and who that is to us."""

    identity: str
    person: Person


CONSOLE = Arrival("console", person_of("console", {}))
"""Who talks in `coach console`: it has no room and no participants."""


def is_client(participant: rtc.RemoteParticipant) -> bool:
    """Return whether `participant` is a person, and the one who is coached."""
    person = person_of(participant.identity, participant.attributes)
    return participant.kind in PEOPLE and person.role is Role.CLIENT


def hear_again(room: rtc.Room) -> None:
    """Subscribe to all voices in `room` whenever the agent has come back to it.

    The framework subscribes to what is published; of what was there before the agent was, in a
    LiveKit server that was killed and is back, it asks too early, and nobody is heard any more.
    """

    @room.on("reconnected")
    def _reconnected() -> None:
        for participant in room.remote_participants.values():
            for publication in participant.track_publications.values():
                if publication.kind == rtc.TrackKind.KIND_AUDIO:
                    publication.set_subscribed(True)


async def wait_for_client(ctx: JobContext) -> Arrival | None:
    """Return the first client in the room, as soon as one is there; None if the room goes first."""
    if ctx.is_fake_job():
        return CONSOLE
    participant = await _first_client(ctx.room)
    if participant is None:
        return None
    return Arrival(participant.identity, person_of(participant.identity, participant.attributes))


async def _first_client(room: rtc.Room) -> rtc.RemoteParticipant | None:
    arrival: asyncio.Future[rtc.RemoteParticipant | None] = (
        asyncio.get_running_loop().create_future()
    )

    def settle(participant: rtc.RemoteParticipant | None) -> None:
        if not arrival.done():
            arrival.set_result(participant)

    def came(participant: rtc.RemoteParticipant) -> None:
        if is_client(participant):
            settle(participant)

    def lost(_: rtc.DisconnectReason.ValueType) -> None:
        settle(None)

    room.on("participant_connected", came)
    room.on("disconnected", lost)
    try:
        for participant in room.remote_participants.values():
            came(participant)
        return await arrival
    finally:
        room.off("participant_connected", came)
        room.off("disconnected", lost)


def another_agent(room: rtc.Room, agent_name: str) -> bool:
    """Return whether this job is one too many: another agent of ours has the room.

    A room can be dispatched twice (`lone_clients`, two callers at once). Whoever finds an agent at
    work leaves, or one that was there first. Not every agent looks again when another one comes,
    so the order has to be one that holds whenever each of them looks: that of joining.
    """
    return any(
        ATTRIBUTE_AGENT_STATE in other.attributes
        or _arrival(other) < _arrival(room.local_participant)
        for other in room.remote_participants.values()
        if other.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        and other.attributes.get(ATTRIBUTE_AGENT_NAME, agent_name) == agent_name
    )


def _arrival(agent: rtc.Participant) -> tuple[float, str]:
    """Return when an agent joined by the server's clock (ms); the identity breaks a tie."""
    return (agent.joined_at.timestamp() if agent.joined_at else math.inf, agent.identity)
