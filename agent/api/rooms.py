"""Rooms with a coach in them: made in LiveKit with the agent dispatched by their configuration.

Making a room that is there gives that room: LiveKit applies a configuration once, so asking twice
dispatches once. An appointment's room is the one that it was given first: it keeps that where
LiveKit cannot be reached, and asking again makes it.
"""

from __future__ import annotations

import secrets
from http import HTTPStatus
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from livekit.api import CreateRoomRequest
from pydantic import Field, JsonValue

from agent.api.auth import Scope, needs
from agent.api.errors import ApiError, documented
from agent.api.resources import Connection, Resources, The, connection, livekit_answers
from agent.api.shapes import Name, Shape, example
from agent.settings import Settings, listed
from agent.tickets import room_configuration
from persistence import appointments
from persistence.appointments import Appointment
from persistence.keys import Key
from persistence.viewers import Reach, Viewer, has_room

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


@router.post("/create", responses=documented(400, 401, 403, 404, 409, 413, 503))
async def create_room(
    request: Request,
    resources: The,
    caller: Annotated[Key, Depends(needs(Scope.ADMIN, Scope.COACH, Scope.INTERNAL))],
    wanted: WantedRoom,
) -> MadeRoom:
    """Make a room with the agent dispatched to it; asking again for the same is harmless.

    A coach's appointments are their own, and a key that has some rooms makes no others. What a
    coach makes without an appointment becomes one of theirs: else nobody knew whose room it is.
    """
    name = await _claimed(resources, caller, wanted)
    sid = await _make(resources, name)
    urls = _join_urls(_base_url(request, resources.settings), name)
    return MadeRoom(success=True, data=Room(room_id=name, room_sid=sid, join_urls=urls))


def _made_up(caller: Key) -> str:
    """Return the only room of a key that has one, else a name that nobody guesses."""
    only = caller.rooms if caller.rooms and len(caller.rooms) == 1 else None
    return only[0] if only else f"room-{secrets.token_hex(8)}"


async def _claimed(resources: Resources, caller: Key, wanted: WantedRoom) -> str:
    """Return the room to make, which is the caller's to make; nothing is done about any other."""
    name = wanted.room_name or _made_up(caller)
    if wanted.appointment_id is not None:
        async with connection(resources) as db, db.transaction():
            return await _appointed(db, caller, wanted.appointment_id, wanted.room_name, name)
    if _says_which_rooms(caller):
        _require_among_rooms(caller, name)
        return name
    async with connection(resources) as db:
        if not await _has(db, caller, name) and caller.user_id is not None:
            await appointments.hold(db, caller.user_id, name)
    return name


def _says_which_rooms(caller: Key) -> bool:
    """Return whether a key itself says which rooms its holder makes: some, or all."""
    return caller.rooms is not None or _is_more_than_coach(caller)


def _require_among_rooms(caller: Key, name: str) -> None:
    if caller.rooms is not None and name not in caller.rooms:
        raise ApiError(HTTPStatus.FORBIDDEN, "this key does not have that room")


async def _has(db: Connection, coach: Key, name: str) -> bool:
    """Return whether a coach has the room; raises 403 if somebody else has it."""
    if await has_room(db, Viewer(Reach.CLIENTS, coach.user_id, coach.identity), name):
        return True
    if coach.user_id is None or not await appointments.is_nobodys(db, name):
        raise ApiError(HTTPStatus.FORBIDDEN, "that room cannot be this coach's")
    return False


async def _appointed(
    db: Connection, caller: Key, appointment: UUID, asked: str | None, name: str
) -> str:
    """Return the appointment's room: the one it has, else `name`, which is linked to it."""
    found = await appointments.for_update(db, appointment)
    if found is None or not _may_hold(caller, found):
        raise ApiError(HTTPStatus.NOT_FOUND, "there is no such appointment")
    if found.room_name is not None and asked not in {None, found.room_name}:
        raise ApiError(HTTPStatus.CONFLICT, "that appointment has another room")
    _require_among_rooms(caller, found.room_name or name)
    if found.room_name is not None:
        return found.room_name
    if not _says_which_rooms(caller):
        await _has(db, caller, name)
    if not await appointments.link_room(db, appointment, name):
        raise ApiError(HTTPStatus.CONFLICT, "that room belongs to another appointment")
    return name


def _is_more_than_coach(caller: Key) -> bool:
    return bool({Scope.ADMIN, Scope.INTERNAL} & set(caller.scopes))


def _may_hold(caller: Key, appointment: Appointment) -> bool:
    """Return whether the appointment is the caller's, or the caller is more than a coach."""
    if _is_more_than_coach(caller):
        return True
    return caller.user_id is not None and appointment.coach_id == caller.user_id


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


def _base_url(request: Request, settings: Settings) -> str:
    """Return where people reach this API: the setting, else the request's own address.

    What a request says of it (its Host) is believed of this machine and of known sites alone: links
    go to other people.
    """
    if settings.api_public_url:
        return settings.api_public_url.rstrip("/") + "/"
    said = request.base_url
    origin = f"{said.scheme}://{said.netloc}"
    if _is_here(said.hostname or "") or origin in listed(settings.api_origins):
        return f"{origin}/"
    host, port = request.scope.get("server") or (settings.api_host, settings.api_port)
    shown = f"[{host}]" if ":" in str(host) else host
    return f"{said.scheme}://{shown}:{port}/"


def _is_here(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _join_urls(base: str, name: str) -> JoinUrls:
    urls = {
        role: f"{base}?{urlencode({'room': name, 'role': role})}" for role in ("client", "coach")
    }
    return JoinUrls(**urls)
