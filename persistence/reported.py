"""Sessions that other agents recorded, as they report them: the rows that a journal's would be.

A session is reported, then what was said in it, in as many portions as its agent likes, and its end
with the last of them. All of it may be reported again. A session of one of this installation's
workers is written by its journal alone, and what was said in a session that has ended stands.

One whose agent says nothing more is given up after a day, as that of a lost worker: provisionally,
since its agent may have been cut off, and what it reports then takes that end back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from persistence import passages, tombstones
from persistence.deferring import AfterSession, defer
from persistence.events import (
    Completeness,
    Ended,
    EndReason,
    Event,
    Receipt,
    Started,
    Turn,
    transcript_sha256,
)
from persistence.journal.records import record_of
from persistence.liveness import JOBS_DELAY, PROVISIONAL_END, AfterReclaim
from persistence.passages import Passage
from persistence.people import lookup
from persistence.rows import claim
from persistence.sessions import RECLAIMED_MINUTES

Connection = AsyncConnection[Any]
_Said = tuple[int, str, str, str | None, str, bool]
"""What a receipt is made of: seq, item id, role, identity, text, interrupted."""

PATIENCE = timedelta(hours=24)
"""A session that began, and in which the last turn was said, longer ago is given up."""
GIVEN_UP = "its agent reported no end"

_GIVE_UP = f"""
WITH lost AS (
    SELECT id, GREATEST(started_at, last_turn_at) AS last_sign FROM sessions
    WHERE status = 'active' AND worker_id IS NULL
      AND GREATEST(started_at, last_turn_at) < now() - %(patience)s
    FOR UPDATE SKIP LOCKED
)
{PROVISIONAL_END}"""  # noqa: S608 the text of `liveness`


class Refusal(StrEnum):
    """Why nothing was written."""

    UNKNOWN = "there is no such session: it is to be reported first"
    OF_A_WORKER = "that session is recorded by a worker of this installation"
    OTHERS = "that session is another client's, or was held in another room"
    ENDED = "that session has ended: what was said in it stands"
    ERASED = "that session was erased, or the client whose it is"
    TAKEN = "that session has another turn with one of these numbers (seq)"
    BACKWARDS = "that session began after that"


@dataclass(frozen=True, slots=True)
class End:
    at: datetime
    reason: EndReason
    turn_count: int | None = None
    """How many turns the agent says there are: with another number the transcript is partial."""


class Reported(NamedTuple):
    turn_count: int
    """Of the session, as it is stored now."""
    added: int
    dropped: int
    """Turns of whom an erasure forbids."""
    status: str


class _Standing(NamedTuple):
    worker_id: UUID | None
    status: str
    started_at: datetime
    room_name: str | None
    client_identity: str | None
    user_id: UUID | None
    given_up: bool

    @property
    def is_open(self) -> bool:
        return self.status == "active" or self.given_up

    def refuses(self, end: End | None) -> Refusal | None:
        """Return why nothing more can be said of it, or not that it ended so."""
        if self.worker_id is not None:
            return Refusal.OF_A_WORKER
        if end is not None and end.at < self.started_at:
            return Refusal.BACKWARDS
        return None

    def refuses_turns(self, said: Sequence[Turn], before: Sequence[_Said]) -> Refusal | None:
        """Return why those of the turns that are not there yet cannot be added."""
        known = {item for _, item, *_ in before}
        new = {turn.seq for turn in said if turn.item_id not in known}
        if new and not self.is_open:
            return Refusal.ENDED
        return Refusal.TAKEN if new & {seq for seq, *_ in before} else None


async def session(
    db: Connection, session_id: UUID, started: Started, after_session: AfterSession
) -> Refusal | str:
    """Write that a session has started; return its status, or why it was not written."""
    async with db.transaction():
        key = await tombstones.key(db)
        if await _erased(db, key, session_id):
            return Refusal.ERASED
        found = await _standing(db, session_id)
        if found is not None and found.worker_id is not None:
            return Refusal.OF_A_WORKER
        if found is not None and await _differs(db, found, started):
            return Refusal.OTHERS
        if found is not None and not found.is_open:
            return found.status
        begun = _passage(session_id, [started], started.at, started)
        outcome = await passages.write(db, [begun], key, after_session)
    return Refusal.ERASED if outcome.dropped else "active"


async def give_up(db: Connection, after_reclaim: AfterReclaim) -> list[UUID]:
    """End reported sessions of which nothing was said to have happened for a day; return their ids.

    Their jobs are deferred as those of a reclaim; several who do so at once share the work.
    """
    values = {"patience": PATIENCE, "longest": RECLAIMED_MINUTES * 60, "reason": GIVEN_UP}
    async with db.transaction():
        found = await db.execute(_GIVE_UP, values)
        session_ids: list[UUID] = [session_id for (session_id,) in await found.fetchall()]
        await defer(db, session_ids, partial(after_reclaim, delay=JOBS_DELAY))
    return session_ids


async def transcript(
    db: Connection,
    session_id: UUID,
    said: Sequence[Turn],
    end: End | None,
    after_session: AfterSession,
) -> Refusal | Reported:
    """Write turns of a session, none twice, and its end; return what there is then, or why not.

    The item ids of `said` are distinct, and so are their numbers: who follows the session goes on
    behind the number of the last turn that came through.
    """
    async with db.transaction():
        key = await tombstones.key(db)
        if await _erased(db, key, session_id):
            return Refusal.ERASED
        found = await _standing(db, session_id)
        if found is None:
            return Refusal.UNKNOWN
        if refusal := found.refuses(end):
            return refusal
        before = await _said(db, session_id)
        if refusal := found.refuses_turns(said, before):
            return refusal
        dropped = 0
        if found.is_open:
            dropped = await _write(db, key, session_id, said, end, after_session)
        after = await _said(db, session_id)
        now = await _standing(db, session_id)
    return Reported(len(after), len(after) - len(before), dropped, (now or found).status)


async def _erased(db: Connection, key: bytes, session_id: UUID) -> bool:
    """Return whether the session was erased, and count that; before any row is locked."""
    erased = await tombstones.standing(db, key, [session_id], [])
    await tombstones.count(db, dict.fromkeys(erased.sessions.values(), 1))
    return bool(erased.sessions)


async def _standing(db: Connection, session_id: UUID) -> _Standing | None:
    query = """
        SELECT worker_id, status, started_at, room_name, client_identity, user_id,
               reclaimed_at IS NOT NULL FROM sessions WHERE id = %s FOR UPDATE
    """
    row = await (await db.execute(query, [session_id])).fetchone()
    return row and _Standing(*row)


async def _differs(db: Connection, found: _Standing, told: Started) -> bool:
    """Return whether what is told of a session is of another: what it does not say may be added."""
    if found.room_name not in (None, told.room_name):
        return True
    told_user = await _user(db, told.client_user, told.client_identity)
    user = found.user_id or await _user(db, found.client_identity)
    if user is not None and told_user is not None:
        return user != told_user
    identities = (found.client_identity, told.client_identity)
    if None not in identities:
        return identities[0] != identities[1]
    is_known = user is not None or found.client_identity is not None
    return is_known and (told.client_identity is not None or told.client_user is not None)


async def _user(db: Connection, *claims: str | None) -> UUID | None:
    query = f"SELECT {lookup('client')}"
    row = await (await db.execute(query, claim("client", *claims))).fetchone()
    return row[0] if row else None


async def _said(db: Connection, session_id: UUID) -> list[_Said]:
    found = await db.execute(
        "SELECT seq, item_id, role, speaker_identity, text, interrupted FROM turns"
        " WHERE session_id = %s",
        [session_id],
    )
    return await found.fetchall()


async def _write(  # noqa: PLR0913, PLR0917 what is to be written, and how
    db: Connection,
    key: bytes,
    session_id: UUID,
    said: Sequence[Turn],
    end: End | None,
    after_session: AfterSession,
) -> int:
    """Write turns and end; return how many turns were dropped."""
    dropped = 0
    if said:
        spoken = _passage(session_id, said, min(turn.started_at for turn in said))
        dropped = (await passages.write(db, [spoken], key, after_session)).dropped
    if end is not None:
        ended = Ended(at=end.at, reason=end.reason, receipt=await _receipt(db, session_id, end))
        last = _passage(session_id, [ended], end.at)
        await passages.write(db, [last], key, after_session)
    return dropped


async def _receipt(db: Connection, session_id: UUID, end: End) -> Receipt:
    """Return the receipt of what is stored, held against what the agent says of it."""
    said = await _said(db, session_id)
    whole = end.turn_count in (None, len(said))
    return Receipt(
        turn_count=len(said),
        transcript_sha256=transcript_sha256(said),
        completeness=Completeness.COMPLETE if whole else Completeness.PARTIAL,
        reason=None if whole else f"{len(said)} of {end.turn_count} turns were reported",
    )


def _passage(
    session_id: UUID, events: Sequence[Event], first_at: datetime, started: Started | None = None
) -> Passage:
    return Passage(
        session_id,
        None,
        first_at,
        [record_of(event, event.model_dump_json().encode()) for event in events],
        started,
    )
