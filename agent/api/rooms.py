"""Rooms with a coach in them: made in LiveKit with the agent dispatched by their configuration.

Making a room that is there gives that room: LiveKit applies a configuration once, so asking twice
dispatches once. An appointment's room is the one that it was given first.
"""

from __future__ import annotations

import secrets
from http import HTTPStatus
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from livekit.api import CreateRoomRequest
from pydantic import Field, JsonValue

from agent.api.auth import Scope, needs
from agent.api.errors import ApiError, documented
from agent.api.resources import Connection, Resources, The, connection, livekit_answers
from agent.api.shapes import Name, Shape, example
from agent.tickets import room_configuration
from persistence import appointments

router = APIRouter(prefix="/api/rooms", tags=["rooms"])

_WANTED: JsonValue = {"roomName": "demo"}
_MADE: JsonValue = {
    "success": True,
    "data": {
        "roomId": "demo",
        "roomSid": "RM_5t2Wx9Q3c7Lk",
        "joinUrls": {
            "client": "https://coach.example/?room=demo&role=client",
            "coach": "https://coach.example/?room=demo&role=coach",
        },
    },
}


class WantedRoom(Shape):
    room_name: Name | None = Field(None, description="One is made up if none is given.")
    appointment_id: UUID | None = Field(None, description="The appointment to hold in the room.")

    model_config = example(_WANTED)


class JoinUrls(Shape):
    """Where each may join, with a token of their own."""

    client: str
    coach: str


class Room(Shape):
    room_id: str = Field(description="The room's name, by which tokens are asked for.")
    room_sid: str = Field(description="LiveKit's id of this very room.")
    join_urls: JoinUrls


class MadeRoom(Shape):
    success: bool
    data: Room

    model_config = example(_MADE)


@router.post(
    "/create",
    dependencies=[Depends(needs(Scope.ADMIN, Scope.COACH, Scope.INTERNAL))],
    responses=documented(400, 401, 403, 404, 409, 413, 503),
)
async def create_room(request: Request, resources: The, wanted: WantedRoom) -> MadeRoom:
    """Make a room with the agent dispatched to it; asking again for the same is harmless."""
    name = wanted.room_name or f"room-{secrets.token_hex(8)}"
    if wanted.appointment_id is None:
        sid = await _make(resources, name)
    else:
        async with connection(resources) as db, db.transaction():
            name = await _appointed(db, wanted.appointment_id, wanted.room_name, name)
            sid = await _make(resources, name)  # without it, the link is undone
    return MadeRoom(
        success=True, data=Room(room_id=name, room_sid=sid, join_urls=_join_urls(request, name))
    )


async def _appointed(db: Connection, appointment: UUID, asked: str | None, name: str) -> str:
    """Return the appointment's room: the one it has, else `name`, which is linked to it."""
    found = await appointments.room_for_update(db, appointment)
    if found is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "there is no such appointment")
    if found[0] is not None and asked in (None, found[0]):
        return found[0]
    if found[0] is not None:
        raise ApiError(HTTPStatus.CONFLICT, "that appointment has another room")
    if not await appointments.link_room(db, appointment, name):
        raise ApiError(HTTPStatus.CONFLICT, "that room belongs to another appointment")
    return name


async def _make(resources: Resources, name: str) -> str:
    made = room_configuration(resources.settings)
    wanted = CreateRoomRequest(
        name=name,
        empty_timeout=made.empty_timeout,
        departure_timeout=made.departure_timeout,
        agents=made.agents,
    )
    async with livekit_answers():
        return (await resources.livekit.room.create_room(wanted)).sid


def _join_urls(request: Request, name: str) -> JoinUrls:
    urls = {
        role: f"{request.base_url}?{urlencode({'room': name, 'role': role})}"
        for role in ("client", "coach")
    }
    return JoinUrls(**urls)
