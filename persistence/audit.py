"""Every stored session held against its own receipt, in a stream, whatever their number.

A page of sessions is read at a time, in the order of their ids, with its turns and in one snapshot:
a session that is written meanwhile is seen before or after, never half. Between pages nothing is
open in Postgres, so that an audit of hours holds up no vacuum and fits any statement time-out;
memory holds one page. What a session is found to be is judged by `verdicts`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from persistence import rows, tombstones
from persistence.verdicts import Finding, Problem, Stored, StoredTurn, Verdict, verdict

Connection = AsyncConnection[Any]

PAGE_SESSIONS = 100

_SINCE = "(%(since)s::timestamptz IS NULL OR s.started_at >= %(since)s)"
_SESSIONS = f"""
    SELECT s.id, s.status, s.started_at, s.end_reason, s.turn_count, s.transcript_sha256,
           s.completeness, s.completeness_reason, s.reclaimed_at IS NOT NULL AS is_reclaimed,
           s.is_archived, s.legacy_transcript IS NOT NULL AS has_legacy_transcript, s.worker_id,
           COALESCE(l.expires_at > now(), false) AS worker_alive,
           (SELECT count(*) FROM dead_letters d WHERE d.session_id = s.id) AS dead_letters,
           EXISTS (SELECT FROM tombstones t WHERE t.session_id = s.id) AS is_erased,
           ARRAY[s.client_identity, u.identity, c.identity] AS identities
    FROM sessions s
    LEFT JOIN worker_leases l ON l.worker_id = s.worker_id
    LEFT JOIN users u ON u.id = s.user_id
    LEFT JOIN users c ON c.id = s.coach_id
    WHERE (%(after)s::uuid IS NULL OR s.id > %(after)s) AND {_SINCE}
    ORDER BY s.id LIMIT %(limit)s
"""  # noqa: S608 - a constant in a constant
_TURNS = """
    SELECT session_id, seq, item_id, role, speaker_identity, text, interrupted
    FROM turns WHERE session_id = ANY(%s)
"""
_MARKERS = "SELECT session_id, seq FROM session_events WHERE session_id = ANY(%s)"
_ANYBODY_ERASED = "SELECT EXISTS (SELECT FROM tombstones WHERE identity_hash IS NOT NULL)"
_LETTERS_OF_NONE = """
    SELECT session_id, count(*) FROM dead_letters d
    WHERE NOT EXISTS (SELECT FROM sessions s WHERE s.id = d.session_id)
    GROUP BY session_id ORDER BY session_id
"""


async def count(db: Connection, since: datetime | None = None) -> int:
    """Return how many sessions an audit looks at: those that started at `since` or later."""
    found = await db.execute(
        f"SELECT count(*) FROM sessions s WHERE {_SINCE}",  # noqa: S608 - a constant
        {"since": since},
    )
    row = await found.fetchone()
    return int(row[0]) if row else 0


async def findings(db: Connection, since: datetime | None = None) -> AsyncIterator[Finding]:
    """Yield what is wrong with the sessions that started at `since` or later.

    Last come dead letters whose session is not there, of whatever time. `db` is in autocommit;
    nothing is written. Raises what the driver raises.
    """
    async for looked_at in verdicts(db, since):
        for finding in looked_at.findings:
            yield finding
    for finding in await letters_of_none(db):
        yield finding


async def verdicts(db: Connection, since: datetime | None = None) -> AsyncIterator[Verdict]:
    """Yield what is to be said of each session that started at `since` or later."""
    after: UUID | None = None
    while page := await _page(db, since, after):
        for stored in page:
            yield verdict(stored)
        after = page[-1].id


async def letters_of_none(db: Connection) -> list[Finding]:
    """Return the dead letters, by session, of sessions that are not there."""
    found = await (await db.execute(_LETTERS_OF_NONE)).fetchall()
    return [Finding(session, Problem.SESSION_MISSING, f"{n} refused") for session, n in found]


async def _page(db: Connection, since: datetime | None, after: UUID | None) -> list[Stored]:
    values = {"since": since, "after": after, "limit": PAGE_SESSIONS}
    async with db.transaction():
        await db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        async with db.cursor(row_factory=class_row(Stored)) as cursor:
            page = await (await cursor.execute(_SESSIONS, values)).fetchall()
        ids = [stored.id for stored in page]
        turns: dict[UUID, list[StoredTurn]] = defaultdict(list)
        for session_id, *turn in await (await db.execute(_TURNS, [ids])).fetchall():
            turns[session_id].append(StoredTurn(*turn))
        markers: dict[UUID, list[int]] = defaultdict(list)
        for session_id, seq in await (await db.execute(_MARKERS, [ids])).fetchall():
            markers[session_id].append(seq)
        page = [
            replace(stored, turns=turns[stored.id], marker_seqs=markers[stored.id])
            for stored in page
        ]
        erased = await _erased(db, page)
    return [replace(s, is_erased=True) if s.id in erased else s for s in page]


async def _erased(db: Connection, page: Sequence[Stored]) -> set[UUID]:
    """Return the sessions in which somebody took part who was erased."""
    found = await (await db.execute(_ANYBODY_ERASED)).fetchone()
    if not found or not found[0]:
        return set()
    names = {stored.id: _names(stored) for stored in page}
    key = await tombstones.key(db)
    erased = await tombstones.standing(db, key, (), set().union(*names.values()))
    return {session_id for session_id, of_one in names.items() if erased.of(of_one) is not None}


def _names(stored: Stored) -> set[str]:
    """Return by which names those who took part may have been erased."""
    identities = {*stored.identities, *(turn.speaker_identity for turn in stored.turns)}
    return {name for identity in identities for name in rows.names_of(identity)}
