"""Who may read which sessions: administrators all, coaches their clients', clients their own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

Connection = AsyncConnection[Any]


class Reach(StrEnum):
    """How far a viewer sees."""

    ALL = "all"
    CLIENTS = "clients"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class Viewer:
    reach: Reach
    user_id: UUID | None = None
    identity: str | None = None
    """As it is in rooms."""


EVERYTHING = Viewer(Reach.ALL)

_CLIENTS = """
    SELECT client_id FROM appointments WHERE coach_id = %(viewer)s AND client_id IS NOT NULL
    UNION ALL
    SELECT user_id FROM sessions WHERE coach_id = %(viewer)s AND user_id IS NOT NULL
"""
_STRANGERS_KEY = """
    SELECT FROM api_keys k
    WHERE %(room)s = ANY(k.rooms) AND 'client' = ANY(k.scopes) AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > now())
      AND NOT EXISTS (SELECT FROM appointments a
                      WHERE a.client_id = k.user_id AND a.coach_id = %(viewer)s)
      AND NOT EXISTS (SELECT FROM sessions o
                      WHERE o.user_id = k.user_id AND o.coach_id = %(viewer)s)
      AND NOT EXISTS (SELECT FROM sessions o
                      WHERE o.client_identity = k.identity AND o.coach_id = %(viewer)s)
"""
"""Selects keys with which others than a coach's clients may come into the room."""
_HAS_ROOM = f"""
    SELECT (EXISTS (
        SELECT FROM appointments a WHERE a.room_name = %(room)s AND a.coach_id = %(viewer)s
    ) OR EXISTS (
        SELECT FROM sessions s WHERE s.room_name = %(room)s AND {{condition}}
    ) AND NOT EXISTS ({_STRANGERS_KEY})) AND NOT EXISTS (
        SELECT FROM appointments a
        WHERE a.room_name = %(room)s AND a.coach_id IS NOT NULL
          AND a.coach_id IS DISTINCT FROM %(viewer)s
    ) AND NOT EXISTS (
        SELECT FROM sessions s
        WHERE s.room_name = %(room)s AND s.status = 'active' AND ({{condition}}) IS NOT TRUE)
"""  # noqa: S608 what is put in is the constant above

CONDITIONS = {
    Reach.ALL: "true",
    Reach.CLIENTS: """(s.coach_id = %(viewer)s
        OR EXISTS (SELECT FROM appointments a
                   WHERE a.client_id = s.user_id AND a.coach_id = %(viewer)s)
        OR EXISTS (SELECT FROM sessions o
                   WHERE o.user_id = s.user_id AND o.coach_id = %(viewer)s))""",
    Reach.OWN: """(s.user_id = %(viewer)s
                   OR (s.user_id IS NULL AND s.client_identity = %(viewer_identity)s))""",
}
"""By a viewer's reach: which sessions `s` they may read, over the parameters of `parameters`; for
one session, or a few."""

CLIENTS = f"SELECT DISTINCT client_id AS id FROM ({_CLIENTS}) AS theirs"  # noqa: S608
"""Selects whom a viewer coaches."""

FEW = 1000
"""Appointments and sessions of a coach whose clients are gone through one by one."""
_SOME = f"SELECT count(*) FROM (SELECT FROM ({_CLIENTS}) AS theirs LIMIT %(most)s) AS counted"  # noqa: S608


async def reads_few(db: Connection, viewer: Viewer) -> bool:
    """Return whether what `viewer` may read is little beside all that there is, as a rule."""
    if viewer.reach is not Reach.CLIENTS:
        return viewer.reach is Reach.OWN
    found = await db.execute(_SOME, {**parameters(viewer), "most": FEW + 1})
    row = await found.fetchone()
    return row is not None and row[0] <= FEW


def parameters(viewer: Viewer) -> dict[str, Any]:
    """Return the parameters of the conditions for `viewer`."""
    return {"viewer": viewer.user_id, "viewer_identity": viewer.identity}


async def has_room(db: Connection, viewer: Viewer, room: str) -> bool:
    """Return whether a room is a coach's: by an appointment, or a session that they may read.

    It is not while somebody else's appointment, or a running session of others, is held in it; nor
    is it by a session of before while the key of somebody else's client has the room.
    """
    query = _HAS_ROOM.format(condition=CONDITIONS[viewer.reach])
    values = {"room": room, **parameters(viewer)}
    row = await (await db.execute(query, values)).fetchone()
    return bool(row and row[0])
