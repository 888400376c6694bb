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
    SELECT client_id FROM appointments WHERE coach_id = %(coach)s AND client_id IS NOT NULL
    UNION
    SELECT user_id FROM sessions WHERE coach_id = %(coach)s AND user_id IS NOT NULL
"""

_OTHERS_ROOM = """
    SELECT EXISTS (
        SELECT FROM appointments a
        WHERE a.room_name = %(room)s AND a.coach_id IS NOT NULL
          AND a.coach_id IS DISTINCT FROM %(viewer)s
    ) OR EXISTS (
        SELECT FROM sessions s
        WHERE s.room_name = %(room)s AND s.status = 'active'
          AND (s.coach_id IS NOT NULL OR s.user_id IS NOT NULL) AND ({condition}) IS NOT TRUE)
"""

CONDITIONS = {
    Reach.ALL: "true",
    Reach.CLIENTS: "(s.coach_id = %(viewer)s OR s.user_id = ANY(%(viewer_clients)s))",
    Reach.OWN: """(s.user_id = %(viewer)s
                   OR (s.user_id IS NULL AND s.client_identity = %(viewer_identity)s))""",
}
"""By a viewer's reach: which sessions `s` they may read, over the parameters of `parameters`."""


async def parameters(db: Connection, viewer: Viewer) -> dict[str, Any]:
    """Return the parameters of the condition for `viewer`."""
    match viewer.reach:
        case Reach.ALL:
            return {}
        case Reach.OWN:
            return {"viewer": viewer.user_id, "viewer_identity": viewer.identity}
        case Reach.CLIENTS:
            found = await db.execute(_CLIENTS, {"coach": viewer.user_id})
            clients = [client for (client,) in await found.fetchall()]
            return {"viewer": viewer.user_id, "viewer_clients": clients}


async def is_others_room(db: Connection, viewer: Viewer, room: str) -> bool:
    """Return whether somebody else's appointment, or a session that `viewer` may not read, has it.

    A running session of which neither coach nor client is known is nobody's.
    """
    query = _OTHERS_ROOM.format(condition=CONDITIONS[viewer.reach])
    values = {"room": room, "viewer": viewer.user_id, **await parameters(db, viewer)}
    row = await (await db.execute(query, values)).fetchone()
    return bool(row and row[0])
