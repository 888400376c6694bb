"""Whether LiveKit answers with these credentials, and whether somebody waits there for an agent."""

from __future__ import annotations

import asyncio

from livekit import api
from livekit.protocol.room import ListParticipantsRequest, ListRoomsRequest

from agent.doctor import judgement
from agent.doctor.check import Area, Check, bad, ok
from agent.settings import Settings
from agent.worker.livekit_client import UNANSWERED, livekit_api
from agent.worker.lone_clients import waits

ANSWER_SECONDS = 5.0
ROOMS = 200
"""Looked into; two questions a room."""
ROOMS_SECONDS = 10.0
"""How long all of them may take; what is not known by then is not said."""
AT_ONCE = 10
_REFUSED = (api.TwirpErrorCode.UNAUTHENTICATED, api.TwirpErrorCode.PERMISSION_DENIED)


async def examine(settings: Settings) -> list[Check]:
    """Ask the server that `settings` name; they have its URL and credentials."""
    try:
        async with livekit_api(settings) as livekit:
            async with asyncio.timeout(ANSWER_SECONDS):
                listed = await livekit.room.list_rooms(ListRoomsRequest())
            names = sorted(room.name for room in listed.rooms)
            known = await _known(livekit, names[:ROOMS], settings)
    except api.TwirpError as error:
        if error.code in _REFUSED:
            advice = "LIVEKIT_API_KEY and LIVEKIT_API_SECRET are not those of this server"
            return [bad(Area.LIVEKIT, "reachable", "refuses the key", advice)]
        return [_away(error.code)]
    except UNANSWERED as error:
        return [_away(type(error).__name__)]
    rooms = judgement.of_rooms(len(names), len(known), sum(known))
    return [ok(Area.LIVEKIT, "reachable", "yes"), *rooms]


async def _known(livekit: api.LiveKitAPI, names: list[str], settings: Settings) -> list[bool]:
    """Return of each room that told in time whether a client waits there; some may not answer."""
    free = asyncio.Semaphore(AT_ONCE)

    async def look(name: str) -> bool:
        async with free:
            return await _waits(livekit, name, settings)

    looks = [asyncio.create_task(look(name)) for name in names]
    if looks:
        await asyncio.wait(looks, timeout=ROOMS_SECONDS)
    for one in looks:
        one.cancel()
    answers = await asyncio.gather(*looks, return_exceptions=True)
    return [answer for answer in answers if isinstance(answer, bool)]


def _away(why: str) -> Check:
    advice = "is LIVEKIT_URL right, does the server run, does a proxy stand between?"
    return bad(Area.LIVEKIT, "reachable", f"no: {why}", advice)


async def _waits(livekit: api.LiveKitAPI, name: str, settings: Settings) -> bool:
    """Return whether a client is in the room, this deployment's agent was called, and none came."""
    try:
        listed = await livekit.room.list_participants(ListParticipantsRequest(room=name))
        if not waits(listed.participants):
            return False
        dispatches = await livekit.agent_dispatch.list_dispatch(name)
    except api.TwirpError as error:
        if error.code == api.TwirpErrorCode.NOT_FOUND:
            return False  # the room closed between the two questions
        raise
    return any(dispatch.agent_name == settings.agent_name for dispatch in dispatches)
