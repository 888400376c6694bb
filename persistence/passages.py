"""Writing what the journals say into Postgres: many passages at once, or one event after another.

Both ways are one transaction and give the same rows. The first is quick and all or nothing; the
second finds the row that Postgres refuses as data, and puts that one aside as a dead letter.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import cast
from uuid import UUID

import psycopg
import structlog
from pydantic import ValidationError

from persistence import rows, sessions, tombstones, turns
from persistence.database import constraint_of, refused_as_data, sent
from persistence.deferring import AfterSession, Db, defer
from persistence.events import Ended, Event, Marker, Started, Turn
from persistence.ids import new_id
from persistence.journal import Record

log = structlog.get_logger("coach.shipper")


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

    @cached_property
    def stored(self) -> list[Record]:
        """The records whose events are stored."""
        return [record for record in self.records if rows.makes_rows(record)]

    @cached_property
    def turns(self) -> tuple[list[bytes], list[Turn]]:
        """Its turns: as `turns.insert_lines` takes them, then what has to go by itself.

        That is what a glance did not understand, and an `item_id` that comes again: a statement
        takes none twice, and the first one stands.
        """
        lines: list[Record] = []
        others: list[Turn] = []
        seen: set[str] = set()
        for record in self.stored:
            if (turn := record.turn) is None:
                continue
            if turn.plain and turn.item_id not in seen:
                lines.append(record)
            else:
                others.append(cast("Turn", record.event))
            seen.add(turn.item_id)
        return rows.turn_lines(self.session_id, lines), others

    @cached_property
    def people(self) -> set[rows.Somebody]:
        """Of whom its events speak."""
        return {rows.somebody_in(self.started), *map(rows.speaker_of, self.stored)}

    def prepare(self) -> None:
        """Work out what is written of it, while Postgres is busy with what goes before.

        What cannot be understood is found once more where it can be put aside.
        """
        with contextlib.suppress(ValidationError):
            _ = self.turns, self.people

    @property
    def makes_rows(self) -> bool:
        return self.write_session or bool(self.stored)

    @property
    def session_row(self) -> rows.Row:
        return rows.session_row(
            self.session_id,
            self.worker_id,
            self.started,
            self.first_at,
            max((r.turn.ended_at for r in self.stored if r.turn), default=None),
        )


@dataclass
class Outcome:
    refused: int = 0
    dropped: int = 0
    start_refused: bool = False
    """Whether the session's `started` is among the refused: it is not to be tried again."""


async def write(
    db: Db,
    passages: Sequence[Passage],
    key: bytes,
    after_session: AfterSession,
    meanwhile: Callable[[], None] = lambda: None,
) -> Outcome:
    """Write `passages` in one transaction, all or nothing; raises what the driver raises.

    `meanwhile` is called once Postgres has most of it, and works.
    """
    async with db.transaction():
        async with db.pipeline():
            kept, outcome = await _without_erased(db, passages, key)
            await sessions.upsert_many(db, [part.session_row for part in kept if part.makes_rows])
            if silent := [part.session_id for part in kept if not part.makes_rows]:
                await sessions.take_back(db, silent)
            await _insert(db, kept)
            await sent(db)
            meanwhile()
        await _end(db, kept, after_session)
    return outcome


async def _insert(db: Db, parts: Sequence[Passage]) -> None:
    lines: list[bytes] = []
    others: list[rows.Row] = []
    for part in parts:
        written, left = part.turns
        lines += written
        others += [rows.turn_row(part.session_id, turn) for turn in left]
    if lines:
        people = {person for part in parts for person in part.people}
        await turns.insert_lines(db, lines, rows.speaker_claims(people))
    if others:
        await turns.insert(db, others)
    if markers := [
        rows.marker_row(part.session_id, cast("Marker", record.event))
        for part in parts
        for record in part.stored
        if record.kind == "marker"
    ]:
        await turns.insert_events(db, markers)


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
                await sessions.take_back(db, [part.session_id])
            for record in part.stored:
                error = await _refusal(db, part.session_id, record)
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
            await sessions.upsert(db, part.session_row)
    except (psycopg.Error, UnicodeError) as error:
        if part.started is None or refused_as_data(error) is None:
            raise
        for record in part.records:
            if record.kind == "started":
                await _put_aside(db, part, record, error)
        await sessions.upsert(db, replace(part, started=None).session_row)
        return True
    return False


async def write_event(db: Db, session_id: UUID, event: Event) -> None:
    """Write one turn or marker of a session that has its row; of other kinds nothing."""
    if isinstance(event, Turn):
        await turns.insert(db, [rows.turn_row(session_id, event)])
    elif isinstance(event, Marker):
        await turns.insert_events(db, [rows.marker_row(session_id, event)])


async def _refusal(db: Db, session_id: UUID, record: Record) -> Exception | None:
    """Write one event; return the error if it is refused as data, raise any other."""
    try:
        async with db.transaction():
            await write_event(db, session_id, record.event)
    except (psycopg.Error, UnicodeError, ValidationError) as error:
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
            record.kind,
            record.payload,
            hashlib.sha256(record.payload).digest(),
            sqlstate,
            constraint,
        ],
    )
    log.error(
        "event_refused",
        session_id=str(passage.session_id),
        kind=record.kind,
        sqlstate=sqlstate,
        constraint=constraint,
    )


async def _end(db: Db, parts: Iterable[Passage], after_session: AfterSession) -> None:
    """End the sessions whose end is here and new, and defer what comes after them."""
    ends = [
        (part, cast("Ended", record.event))
        for part in parts
        for record in part.stored
        if record.kind == "ended"
    ]
    if not ends:
        return
    speakers = [
        rows.speaker_row(part.session_id, identity, claimed)
        for part, _ in ends
        for identity, claimed in sorted(part.speakers.items())
    ]
    await turns.name_speakers(db, speakers)
    given = [rows.end_row(part.session_id, end, damaged=part.damaged) for part, end in ends]
    await defer(db, await sessions.end(db, given), after_session)


async def _without_erased(
    db: Db, passages: Sequence[Passage], key: bytes
) -> tuple[list[Passage], Outcome]:
    """Return `passages` without what was erased, which is counted at its tombstone."""
    people = {person for passage in passages for person in passage.people}
    erased = await tombstones.standing(
        db, key, [p.session_id for p in passages], rows.names_in(people)
    )
    if not erased.sessions and not erased.names:
        return list(passages), Outcome()
    dropped: Counter[UUID] = Counter()
    kept = [part for p in passages if (part := _part_without(p, erased, dropped)) is not None]
    await tombstones.count(db, dropped)
    return kept, Outcome(dropped=dropped.total())


def _part_without(
    passage: Passage, erased: tombstones.Erased, dropped: Counter[UUID]
) -> Passage | None:
    """Return what is left of `passage`; None where the session or its client was erased."""
    whole = erased.sessions.get(passage.session_id) or erased.of(rows.people_of(passage.started))
    if whole is not None:
        dropped[whole] += len(passage.stored)
        return None
    left = []
    for record in passage.records:
        tombstone = erased.of(rows.names_in([rows.speaker_of(record)]))
        if tombstone is None:
            left.append(record)
        else:
            dropped[tombstone] += 1
    return replace(passage, records=left)
