"""Appointments: which room one is held in."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

Connection = AsyncConnection[Any]


async def room_for_update(db: Connection, appointment_id: UUID) -> tuple[str | None] | None:
    """Return `(room_name,)` of the appointment and keep others off it; None if there is none."""
    query = "SELECT room_name FROM appointments WHERE id = %s FOR UPDATE"
    row: tuple[str | None] | None = await (await db.execute(query, (appointment_id,))).fetchone()
    return row


async def link_room(db: Connection, appointment_id: UUID, room_name: str) -> bool:
    """Hold the appointment in `room_name`; return False if that is another appointment's room."""
    query = """
        UPDATE appointments SET room_name = %(room)s WHERE id = %(id)s
          AND NOT EXISTS (SELECT 1 FROM appointments WHERE room_name = %(room)s AND id <> %(id)s)
    """
    cursor = await db.execute(query, {"id": appointment_id, "room": room_name})
    return cursor.rowcount == 1
