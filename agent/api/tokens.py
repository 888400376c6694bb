"""LiveKit's standard token endpoint, as its client SDKs call it.

A caller gets what their key says and nothing that they ask for: who they are, which role, which
rooms.
"""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from google.protobuf.json_format import ParseDict, ParseError
from livekit.api import AccessToken, RoomConfiguration
from pydantic import BaseModel, Field, JsonValue

from agent.api.auth import Scope, needs
from agent.api.errors import ApiError, documented
from agent.api.resources import Resources, The, connection
from agent.api.shapes import Name, example
from agent.settings import Settings, secret
from agent.tickets import room_configuration, ticket
from agent.worker.people import person_of
from persistence.events import Role
from persistence.keys import Key
from persistence.viewers import Reach, Viewer, has_room

router = APIRouter(prefix="/api/livekit", tags=["rooms"])

LIFETIME = timedelta(minutes=10)


class WantedToken(BaseModel):
    """LiveKit's request; every field may be left out."""

    room_name: Name | None = None
    participant_identity: str | None = Field(None, description="Only the key's own.")
    participant_name: str | None = Field(None, description="Only the user's own.")
    participant_metadata: str | None = Field(None, description="None may be given.")
    participant_attributes: dict[str, str] | None = Field(None, description="Only the key's own.")
    room_config: dict[str, Any] | None = Field(
        None, description="At most the dispatch that the token has anyway."
    )

    model_config = example({"room_name": "demo"})


_TOKEN: JsonValue = {"server_url": "wss://livekit.example", "participant_token": "eyJhbGciOi…"}


class Token(BaseModel):
    server_url: str
    participant_token: str

    model_config = example(_TOKEN)


@router.post("/token", status_code=201, responses=documented(400, 401, 403, 413, 503))
async def create_token(
    resources: The,
    caller: Annotated[Key, Depends(needs(Scope.CLIENT, Scope.COACH))],
    wanted: WantedToken | None = None,
) -> Token:
    """Give the caller a token for one of their rooms. It lives for ten minutes."""
    wanted = wanted or WantedToken()
    settings = resources.settings
    identity, role = _identity(caller), _role(caller)
    attributes = _attributes(identity, role, caller)
    room = _room(caller, wanted)
    await _refuse_room(resources, caller, room)
    _refuse_other(caller, wanted, attributes)
    _refuse_other_room_config(settings, wanted.room_config)
    token = _token(settings, identity, room, attributes)
    if caller.display_name:
        token = token.with_name(caller.display_name)
    return Token(server_url=_websocket_url(settings), participant_token=token.to_jwt())


def _forbidden(details: str) -> ApiError:
    return ApiError(HTTPStatus.FORBIDDEN, details)


def _identity(caller: Key) -> str:
    if not caller.identity:
        raise _forbidden("this key belongs to nobody who could join a room")
    return caller.identity


def _role(caller: Key) -> Role:
    return Role.COACH if Scope.COACH in caller.scopes else Role.CLIENT


def _attributes(identity: str, role: Role, caller: Key) -> dict[str, str]:
    known = {"role": role.value}
    user = str(caller.user_id) if caller.user_id else person_of(identity, known).user
    return known | {"user_id": user or identity}


def _room(caller: Key, wanted: WantedToken) -> str:
    """Return the room to join: the one asked for if the key has it, else the only one it has.

    A coach's key without rooms has those of their appointments and of their clients' sessions, an
    administrator's has all: it makes rooms to try them.
    """
    if caller.rooms is None and not {Scope.COACH, Scope.ADMIN} & set(caller.scopes):
        raise _forbidden("this key has no room")
    if wanted.room_name is not None:
        if caller.rooms is not None and wanted.room_name not in caller.rooms:
            raise _forbidden("this key does not have that room")
        return wanted.room_name
    if caller.rooms is None or len(caller.rooms) != 1:
        raise ApiError(HTTPStatus.BAD_REQUEST, "room_name is missing")
    return caller.rooms[0]


async def _refuse_room(resources: Resources, caller: Key, room: str) -> None:
    """Keep a coach whose key names no rooms out of what nobody knows to be theirs."""
    if caller.rooms is not None or Scope.ADMIN in caller.scopes:
        return
    viewer = Viewer(Reach.CLIENTS, caller.user_id, caller.identity)
    async with connection(resources) as db:
        if not await has_room(db, viewer, room):
            raise _forbidden("that room is not one of this coach's")


def _refuse_other(caller: Key, wanted: WantedToken, attributes: dict[str, str]) -> None:
    if wanted.participant_identity and wanted.participant_identity != caller.identity:
        raise _forbidden("participant_identity is the key's")
    if wanted.participant_name and wanted.participant_name != caller.display_name:
        raise _forbidden("participant_name is the user's")
    if wanted.participant_metadata:
        raise _forbidden("participant_metadata cannot be given")
    if (wanted.participant_attributes or {}).items() - attributes.items():
        raise _forbidden("participant_attributes are the key's")


def _refuse_other_room_config(settings: Settings, given: dict[str, Any] | None) -> None:
    """Refuse a configuration that is more than the dispatch that every token has."""
    try:
        wanted = ParseDict(given or {}, RoomConfiguration())
    except (ParseError, RecursionError, ValueError):
        raise ApiError(HTTPStatus.BAD_REQUEST, "room_config is not LiveKit's") from None
    only_dispatch = RoomConfiguration(agents=room_configuration(settings).agents)
    if wanted not in (RoomConfiguration(), only_dispatch):
        raise _forbidden("room_config is this installation's")


def _token(settings: Settings, identity: str, room: str, attributes: dict[str, str]) -> AccessToken:
    return ticket(
        AccessToken(settings.livekit_api_key, secret(settings.livekit_api_secret)),
        identity=identity,
        attributes=attributes,
        room=room,
        settings=settings,
    ).with_ttl(LIFETIME)


def _websocket_url(settings: Settings) -> str:
    """Return LiveKit's URL as its clients take it."""
    url = settings.livekit_url or ""
    return "ws" + url.removeprefix("http") if url.startswith("http") else url
