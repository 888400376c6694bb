"""Writing what the journals say into Postgres: many passages at once, or one event after another.

Both ways are one transaction and give the same rows. The first is quick and all or nothing; the
second finds the row that Postgres refuses as data, and puts that one aside as a dead letter.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection

from persistence import rows, sessions, tombstones, turns
from persistence.database import constraint_of
from persistence.events import Ended, Event, Marker, Started, Turn
from persistence.ids import new_id
from persistence.journal import Record

log = structlog.get_logger("coach.shipper")

Db = AsyncConnection[Any]
AfterSession = Callable[[Db, Sequence[UUID]], Awaitable[None]]
"""Defers the jobs of sessions that ended, on that connection, in the transaction of their ends."""

_REFUSED_CLASSES = ("22", "23")
_CLIENT_SIDE = "22000"
"""What the driver itself refuses, for example a NUL in a text, never got a SQLSTATE."""


@dataclass
class Passage:
    """A stretch of one session's journal, and what is known of the session from before it."""

    session_id: UUID
    worker_id: UUID | None
    """None where another agent reports the session."""
    first_at: datetime
    records: Sequence[Record]
    started: Started | None = None
    speakers: dict[str, str | None] = field(default_factory=dict)
    """Who spoke, by identity, and whom they claim to be."""
    write_session: bool = False
    """Whether the session's row is to be written even where no event here makes a row."""
    damaged: bool = False

    @property
    def events(self) -> Iterator[Event]:
        return (record.event for record in self.records if rows.makes_rows(record.event))

    @property
    def makes_rows(self) -> bool:
        return self.write_session or any(self.events)

    @property
    def session_row(self) -> rows.Row:
        return rows.session_row(
            self.session_id, self.worker_id, self.started, self.first_at, self.events
        )


@dataclass
class Outcome:
    refused: int = 0
    dropped: int = 0
    start_refused: bool = False
    """Whether the session's `started` is among the refused: it is not to be tried again."""


def refused_as_data(error: BaseException) -> str | None:
    """Return the SQLSTATE if Postgres, or the driver before it, refuses the row as data."""
    sqlstate: str | None = getattr(error, "sqlstate", None)
    if sqlstate is None:
        is_data = isinstance(error, psycopg.DataError | UnicodeError)
        return _CLIENT_SIDE if is_data else None
    return sqlstate if sqlstate.startswith(_REFUSED_CLASSES) else None


async def write(
    db: Db, passages: Sequence[Passage], key: bytes, after_session: AfterSession
) -> Outcome:
    """Write `passages` in one transaction, all or nothing; raises what the driver raises."""
    async with db.transaction():
        async with db.pipeline():
            kept, outcome = await _without_erased(db, passages, key)
            written = [part for part in kept if part.makes_rows]
            await sessions.upsert(db, [part.session_row for part in written])
            silent = [{"id": part.session_id} for part in kept if not part.makes_rows]
            await sessions.take_back(db, silent)
            said = [(part.session_id, event) for part in kept for event in part.events]
            await turns.insert(db, [rows.turn_row(s, e) for s, e in said if isinstance(e, Turn)])
            markers = [rows.marker_row(s, e) for s, e in said if isinstance(e, Marker)]
            await turns.insert_events(db, markers)
        await _end(db, kept, after_session)
    return outcome


async def write_singly(
    db: Db, passage: Passage, key: bytes, after_session: AfterSession
) -> Outcome:
    """Write one passage event by event; what is refused as data becomes a dead letter."""
    async with db.transaction():
        kept, outcome = await _without_erased(db, [passage], key)
        for part in kept:
            if part.makes_rows:
                outcome.start_refused = await _start_refused(db, part)
            else:
                await sessions.take_back(db, [{"id": part.session_id}])
            for record in part.records:
                error = await _refusal(db, part.session_id, record.event)
                if error is not None:
                    await _put_aside(db, part, record, error)
                    outcome.refused += 1
            outcome.refused += outcome.start_refused
        await _end(db, kept, after_session)
    return outcome


async def _start_refused(db: Db, part: Passage) -> bool:
    """Write the session's row, and return whether that went only without its `started`."""
    try:
        async with db.transaction():
            await sessions.upsert(db, [part.session_row])
    except (psycopg.Error, UnicodeError) as error:
        if part.started is None or refused_as_data(error) is None:
            raise
        for record in part.records:
            if isinstance(record.event, Started):
                await _put_aside(db, part, record, error)
        await sessions.upsert(db, [replace(part, started=None).session_row])
        return True
    return False


async def write_event(db: Db, session_id: UUID, event: Event) -> None:
    """Write one turn or marker of a session that has its row; of other kinds nothing."""
    if isinstance(event, Turn):
        await turns.insert(db, [rows.turn_row(session_id, event)])
    elif isinstance(event, Marker):
        await turns.insert_events(db, [rows.marker_row(session_id, event)])


async def _refusal(db: Db, session_id: UUID, event: Event) -> Exception | None:
    """Write one event; return the error if it is refused as data, raise any other."""
    try:
        async with db.transaction():
            await write_event(db, session_id, event)
    except (psycopg.Error, UnicodeError) as error:
        if refused_as_data(error) is None:
            raise
        return error
    return None


async def _put_aside(db: Db, passage: Passage, record: Record, error: Exception) -> None:
    sqlstate, constraint = refused_as_data(error), constraint_of(error)
    await db.execute(
        "INSERT INTO dead_letters (id, session_id, worker_id, kind, payload, digest, sqlstate,"
        " constraint_name) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        [
            new_id(),
            passage.session_id,
            passage.worker_id,
            record.event.kind,
            record.payload,
            hashlib.sha256(record.payload).digest(),
            sqlstate,
            constraint,
        ],
    )
    log.error(
        "event_refused",
        session_id=str(passage.session_id),
        kind=record.event.kind,
        sqlstate=sqlstate,
        constraint=constraint,
    )


async def _end(db: Db, parts: Iterable[Passage], after_session: AfterSession) -> None:
    """End the sessions whose end is here and new, and defer what comes after them."""
    ends = [(part, event) for part in parts for event in part.events if isinstance(event, Ended)]
    if not ends:
        return
    speakers = [
        rows.speaker_row(part.session_id, identity, claimed)
        for part, _ in ends
        for identity, claimed in sorted(part.speakers.items())
    ]
    await turns.name_speakers(db, speakers)
    given = [rows.end_row(part.session_id, end, damaged=part.damaged) for part, end in ends]
    await defer(db, [row["id"] for row in given if await sessions.end(db, row)], after_session)


async def defer(db: Db, session_ids: Sequence[UUID], after_session: AfterSession) -> None:
    """Defer the jobs of sessions; their ends are committed even where jobs cannot be.

    Where they cannot be all at once, each half goes by itself: one session spoils it for no other.
    """
    error = await _not_deferred(db, session_ids, after_session) if session_ids else None
    if error is None:
        return
    if len(session_ids) == 1:
        log.error("jobs_not_deferred", session_id=str(session_ids[0]), error=type(error).__name__)
        return
    middle = len(session_ids) // 2
    await defer(db, session_ids[:middle], after_session)
    await defer(db, session_ids[middle:], after_session)


async def _not_deferred(
    db: Db, session_ids: Sequence[UUID], after_session: AfterSession
) -> Exception | None:
    """Defer the jobs of all or of none; return why of none, raise what is not the jobs' fault."""
    try:
        async with db.transaction():
            await after_session(db, session_ids)
    except Exception as error:
        if isinstance(error, psycopg.Error) and refused_as_data(error) is None:
            raise
        return error
    return None


async def _without_erased(
    db: Db, passages: Sequence[Passage], key: bytes
) -> tuple[list[Passage], Outcome]:
    """Return `passages` without what was erased, which is counted at its tombstone."""
    people = {name for p in passages for event in _speaking(p) for name in rows.people_of(event)}
    erased = await tombstones.standing(db, key, [p.session_id for p in passages], people)
    if not erased.sessions and not erased.names:
        return list(passages), Outcome()
    dropped: Counter[UUID] = Counter()
    kept = [part for p in passages if (part := _part_without(p, erased, dropped)) is not None]
    await tombstones.count(db, dropped)
    return kept, Outcome(dropped=dropped.total())


def _speaking(passage: Passage) -> Iterable[Event]:
    return [*([passage.started] if passage.started else []), *passage.events]


def _part_without(
    passage: Passage, erased: tombstones.Erased, dropped: Counter[UUID]
) -> Passage | None:
    """Return what is left of `passage`; None where the session or its client was erased."""
    whole = erased.sessions.get(passage.session_id) or erased.of(rows.people_of(passage.started))
    if whole is not None:
        dropped[whole] += sum(1 for _ in passage.events)
        return None
    left = []
    for record in passage.records:
        tombstone = erased.of(rows.people_of(record.event))
        if tombstone is None:
            left.append(record)
        else:
            dropped[tombstone] += 1
    return replace(passage, records=left)
