"""Appointments: which room one is held in."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from persistence.ids import new_id

Connection = AsyncConnection[Any]


class Appointment(NamedTuple):
    room_name: str | None
    coach_id: UUID | None


_NOBODYS = """
    SELECT NOT EXISTS (SELECT FROM appointments WHERE room_name = %(room)s)
       AND NOT EXISTS (SELECT FROM sessions WHERE room_name = %(room)s)
       AND NOT EXISTS (SELECT FROM api_keys WHERE %(room)s = ANY(rooms) AND revoked_at IS NULL)
"""
_HOLD = """
    INSERT INTO appointments (id, room_name, coach_id, scheduled_for) VALUES (%s, %s, %s, now())
"""


async def is_nobodys(db: Connection, room_name: str) -> bool:
    """Return whether no appointment, no session and no key says whose the room is."""
    row = await (await db.execute(_NOBODYS, {"room": room_name})).fetchone()
    return bool(row and row[0])


async def hold(db: Connection, coach_id: UUID, room_name: str) -> None:
    """Make an appointment of a coach's, to be held now in a room that is nobody's.

    Who comes second is refused by Postgres: a room has one appointment.
    """
    await db.execute(_HOLD, (new_id(), room_name, coach_id))


async def for_update(db: Connection, appointment_id: UUID) -> Appointment | None:
    """Return the appointment and keep others off it; None if there is none."""
    query = "SELECT room_name, coach_id FROM appointments WHERE id = %s FOR UPDATE"
    row = await (await db.execute(query, (appointment_id,))).fetchone()
    return row and Appointment(*row)


async def link_room(db: Connection, appointment_id: UUID, room_name: str) -> bool:
    """Hold the appointment in `room_name`; return False if that is another appointment's room."""
    query = """
        UPDATE appointments SET room_name = %(room)s WHERE id = %(id)s
          AND NOT EXISTS (SELECT 1 FROM appointments WHERE room_name = %(room)s AND id <> %(id)s)
    """
    cursor = await db.execute(query, {"id": appointment_id, "room": room_name})
    return cursor.rowcount == 1
