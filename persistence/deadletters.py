"""The events that Postgres refused: seen, and put through again once the cause is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from pydantic import ValidationError

from persistence import rows, search, sessions, tombstones
from persistence.database import constraint_of, refused_as_data
from persistence.deferring import AfterSession, defer
from persistence.events import EVENTS, Started
from persistence.passages import write_event

NOT_UNDERSTOOD = "22000"
"""SQLSTATE of an event that this version cannot read."""

PAGE_LETTERS = 500
"""Read at a time: each holds what was said."""

_PAGE = """
SELECT d.id, d.session_id, d.worker_id, d.payload, s.client_identity
FROM dead_letters d LEFT JOIN sessions s ON s.id = d.session_id
WHERE (%(all)s OR d.id = ANY(%(ids)s)) AND (%(after)s::uuid IS NULL OR d.id > %(after)s)
ORDER BY d.id LIMIT %(limit)s
"""


class DeadLetter(NamedTuple):
    """What may be shown of one: never its payload, which may hold what was said."""

    id: UUID
    session_id: UUID
    kind: str
    sqlstate: str
    constraint_name: str | None
    attempts: int
    created_at: datetime


class Retried(NamedTuple):
    accepted: int
    """Written, or erased since, and no dead letters any more."""
    refused: int


async def count(db: AsyncConnection[Any]) -> int:
    """Return how many there are."""
    found = await (await db.execute("SELECT count(*) FROM dead_letters")).fetchone()
    return int(found[0]) if found else 0


async def show(db: AsyncConnection[Any], limit: int = 100) -> list[DeadLetter]:
    """Return the oldest `limit` of them."""
    found = await db.execute(
        "SELECT id, session_id, kind, sqlstate, constraint_name, attempts, created_at"
        " FROM dead_letters ORDER BY created_at, id LIMIT %s",
        [limit],
    )
    return [DeadLetter(*row) for row in await found.fetchall()]


async def retry(
    db: AsyncConnection[Any], after_session: AfterSession, ids: Sequence[UUID] = ()
) -> Retried:
    """Put dead letters through again, all if no `ids` are given; what was erased is dropped.

    An ended session that has none left is whole again, and its jobs are deferred anew: its
    transcript is another one now. `db` is in autocommit; raises what the driver raises for
    anything but refused data.
    """
    key = await tombstones.key(db)
    accepted = refused = 0
    async for letter in _letters(db, ids):
        try:
            async with db.transaction():
                await _put_through(db, key, letter, after_session)
            accepted += 1
        except (psycopg.Error, UnicodeError, ValidationError) as error:
            await _refuse_again(db, letter, error)
            refused += 1
    return Retried(accepted, refused)


class _Letter(NamedTuple):
    id: UUID
    session_id: UUID
    worker_id: UUID
    payload: bytes
    client_identity: str | None


async def _letters(db: AsyncConnection[Any], ids: Sequence[UUID]) -> AsyncIterator[_Letter]:
    """Yield those of `ids`, all if there are none, oldest first; each once, a page in memory."""
    after: UUID | None = None
    while True:
        found = await db.execute(
            _PAGE, {"all": not ids, "ids": list(ids), "after": after, "limit": PAGE_LETTERS}
        )
        page = [_Letter(*row) for row in await found.fetchall()]
        for letter in page:
            yield letter
        if len(page) < PAGE_LETTERS:
            return
        after = page[-1].id


async def _put_through(
    db: AsyncConnection[Any], key: bytes, letter: _Letter, after_session: AfterSession
) -> None:
    event = EVENTS.validate_json(letter.payload)
    people = rows.people_of(event) | set(rows.names_of(letter.client_identity))
    erased = await tombstones.standing(db, key, [letter.session_id], people)
    tombstone = erased.sessions.get(letter.session_id) or erased.of(people)
    if tombstone is not None:
        await tombstones.count(db, {tombstone: 1})
    elif isinstance(event, Started):
        row = rows.session_row(letter.session_id, letter.worker_id, event, event.at, None)
        await sessions.complete(db, row)
    else:
        # the session first, as the shipper does: else each may wait for the other
        await search.forget(db, letter.session_id)
        await write_event(db, letter.session_id, event)
    await db.execute("DELETE FROM dead_letters WHERE id = %s", [letter.id])
    if await sessions.made_whole(db, letter.session_id, rows.DEAD_LETTERS):
        await defer(db, [letter.session_id], after_session)


async def _refuse_again(db: AsyncConnection[Any], letter: _Letter, error: Exception) -> None:
    """Count another try; raise `error` if it is not the data's fault."""
    sqlstate = NOT_UNDERSTOOD if isinstance(error, ValidationError) else refused_as_data(error)
    if sqlstate is None:
        raise error
    await db.execute(
        "UPDATE dead_letters SET attempts = attempts + 1, sqlstate = %s, constraint_name = %s"
        " WHERE id = %s",
        [sqlstate, constraint_of(error), letter.id],
    )
