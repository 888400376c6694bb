"""Lists of sessions, newest first: a page at a time, narrowed, of what somebody may read.

Which rows make a page has to be found without going through all that are none of it, so it is asked
in one of three ways, and never left to Postgres to choose:

- `newest`: from the newest on until the page is full. Quick where one in a few belongs to it.
- `_theirs`: the newest of each client, put together. Quick where a viewer has few of them, and for
  however many not slower than that takes.
- named: gathered first, and then put in order. Quick where a search finds few sessions.

A page of who has many clients, or of words that many sessions have, is looked for among the newest
sessions first; only where those do not fill it, all that may belong to it is gathered.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from persistence import search, transcripts, viewers
from persistence.paging import Position
from persistence.transcripts import SessionRow
from persistence.viewers import Reach, Viewer

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to; people by their user id or their identity."""

    client: str | None = None
    coach: str | None = None
    status: str | None = None
    completeness: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Not included."""
    text: str | None = None
    """Words that were all said in the session, in any case."""


_CONDITIONS = {
    "client": "(s.user_id = ANY(%(client_ids)s) OR s.client_identity = %(client)s)",
    "coach": "s.coach_id = ANY(%(coach_ids)s)",
    "status": "s.status = %(status)s",
    "completeness": "s.completeness = %(completeness)s",
    "since": "s.started_at >= %(since)s",
    "until": "s.started_at < %(until)s",
}
_AFTER = "(s.started_at, s.id) < (%(after_at)s, %(after_id)s)"
_ORDER = "ORDER BY s.started_at DESC, s.id DESC"

LOOKED_THROUGH = 1000
"""So many of the newest sessions are looked through for a page before it is asked for otherwise."""

_NAMED = "SELECT id FROM users WHERE id = %s OR identity = %s"


async def page(
    db: Connection,
    filters: Filters,
    *,
    limit: int,
    after: Position | None = None,
    viewer: Viewer = viewers.EVERYTHING,
) -> list[SessionRow]:
    """Return at most `limit` sessions that `viewer` may read, newest first, from `after` on."""
    values = {**asdict(filters), **viewers.parameters(viewer)}
    for name in ("client", "coach"):
        if values[name] is not None:
            values[f"{name}_ids"] = await _named(db, values[name])
    conditions = [wanted for name, wanted in _CONDITIONS.items() if values[name] is not None]
    if after is not None:
        conditions.append(_AFTER)
        values |= {"after_at": after.at, "after_id": after.id}
    if filters.text is not None:
        return await _said(db, viewer, limit, conditions, values)
    readable = viewers.CONDITIONS[viewer.reach]
    if filters.client is not None or viewer.reach is Reach.ALL:
        return await _rows(db, newest(limit, [readable, *conditions]), values)
    if await viewers.reads_few(db, viewer):
        return await _rows(db, _theirs(viewer, limit, conditions), values)
    found = await _among_newest(db, limit, conditions, [readable], values)
    if found is not None:
        return found
    return await _rows(db, _theirs(viewer, limit, conditions), values)


async def _said(
    db: Connection, viewer: Viewer, limit: int, conditions: list[str], values: dict[str, Any]
) -> list[SessionRow]:
    """Return the page of sessions in which the words of `text` were said."""
    readable = viewers.CONDITIONS[viewer.reach]
    values["found"] = await search.few(db, values["text"])
    if values["found"] is not None:
        named = [readable, "s.id = ANY(%(found)s)", *conditions]
        return await _rows(db, newest(limit, named), values)
    if await viewers.reads_few(db, viewer):
        return await _rows(db, _theirs(viewer, limit, [*conditions, search.HOLDING]), values)
    found = await _among_newest(db, limit, conditions, [readable, search.HOLDING], values)
    if found is not None:
        return found
    gathered = ["s.id IN (SELECT session_id FROM holding)", readable, *conditions]
    return await _rows(db, newest(limit, gathered), values, search.HOLDING_ALL)


def newest(limit: int, conditions: list[str], sessions: str = "sessions") -> str:
    """Return SQL for the `limit` newest of `sessions` under `conditions`, in order.

    The limit is no parameter: without knowing it Postgres plans each page anew, which takes as long
    as having it.
    """
    return f"SELECT s.* FROM {sessions} s WHERE {' AND '.join(conditions)} {_ORDER} LIMIT {limit:d}"  # noqa: S608


def _theirs(viewer: Viewer, limit: int, conditions: list[str]) -> str:
    """Return SQL for the same by way of the clients whose sessions `viewer` may read."""
    if viewer.reach is Reach.OWN:
        unknown = ["s.user_id IS NULL", "s.client_identity = %(viewer_identity)s", *conditions]
        parts = [newest(limit, ["s.user_id = %(viewer)s", *conditions]), newest(limit, unknown)]
    else:
        others = ["s.user_id = client.id", "s.coach_id IS DISTINCT FROM %(viewer)s", *conditions]
        each = f"({viewers.CLIENTS}) AS client CROSS JOIN LATERAL ({newest(limit, others)})"
        parts = [
            newest(limit, ["s.coach_id = %(viewer)s", *conditions]),
            f"SELECT s.* FROM {each} AS s",  # noqa: S608
        ]
    together = " UNION ALL ".join(f"({part})" for part in parts)
    return newest(limit, ["true"], f"({together})")


async def _among_newest(
    db: Connection, limit: int, conditions: list[str], rare: list[str], values: dict[str, Any]
) -> list[SessionRow] | None:
    """Return a page of those of the newest sessions under `conditions` that are `rare` ones, too.

    None if those do not fill it, and there are older ones to look through.
    """
    latest = newest(LOOKED_THROUGH, conditions or ["true"])
    rows = await _rows(db, newest(limit, rare, f"({latest} OFFSET 0)"), values)
    if len(rows) == limit or await _count(db, latest, values) < LOOKED_THROUGH:
        return rows
    return None


async def _rows(
    db: Connection, sessions: str, values: dict[str, Any], beside: str = ""
) -> list[SessionRow]:
    """Return the sessions that SQL selects; what more is known of them is looked for of them alone.

    `beside` is SQL that stands before, for `sessions` to refer to.
    """
    query = f"{beside} {transcripts.SESSION.format(sessions=f'({sessions})')} {_ORDER}"
    async with db.cursor(row_factory=class_row(SessionRow)) as cursor:
        return await (await cursor.execute(query, values)).fetchall()


async def _count(db: Connection, sessions: str, values: dict[str, Any]) -> int:
    row = await (await db.execute(f"SELECT count(*) FROM ({sessions}) AS s", values)).fetchone()  # noqa: S608
    return int(row[0]) if row else 0


async def _named(db: Connection, name: str) -> list[UUID]:
    """Return the ids of the users whom `name`, an id or an identity, means."""
    try:
        user_id = UUID(name)
    except ValueError:
        user_id = None
    return [found for (found,) in await (await db.execute(_NAMED, (user_id, name))).fetchall()]
