"""What becomes of a room whose conversation is over for good: no agent is called into it again.

A client who would be left alone is not: the room is closed. A human coach is never thrown out, nor
the client then, who is with somebody: only the call for an agent is taken back, by which
`lone_clients` knows a room as one to look after.
"""

from __future__ import annotations

import structlog
from livekit import api, rtc
from livekit.agents import JobContext

from agent.worker.livekit_client import UNANSWERED
from agent.worker.people import person_of
from agent.worker.presence import PEOPLE
from persistence.events import Role

log = structlog.get_logger("coach.departure")


async def leave_for_good(ctx: JobContext, agent_name: str) -> None:
    """Close the room, or leave it to its human coach; a LiveKit that fails is logged."""
    if not coached_by_human(ctx.room):
        await ctx.delete_room()
        return
    try:
        await _call_nobody(ctx.api, ctx.room.name, agent_name)
    except UNANSWERED as error:
        log.warning("dispatch_kept", error=type(error).__name__)


def coached_by_human(room: rtc.Room) -> bool:
    """Return whether a human coach is in `room`."""
    return any(
        person.kind in PEOPLE and person_of(person.identity, person.attributes).role is Role.COACH
        for person in room.remote_participants.values()
    )


async def _call_nobody(livekit: api.LiveKitAPI, room: str, agent_name: str) -> None:
    for dispatch in await livekit.agent_dispatch.list_dispatch(room):
        if dispatch.agent_name == agent_name:
            await livekit.agent_dispatch.delete_dispatch(dispatch.id, room)
