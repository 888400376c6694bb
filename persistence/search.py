"""Full-text search over what was said: which sessions, and where in their messages.

An ended session's words are gathered into one row (`session_search`), a minute or so after its end
and again whenever its turns change. Those of the few that are not gathered yet are looked for in
their turns, so that a word is found from the moment it is stored. Indexing each turn instead would
cost every one of them more time on its way in than all the rest of shipping it.

No stemming, since sessions have many languages: a word matches itself, in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from persistence import excerpts, legacy
from persistence.events import Role
from persistence.excerpts import Excerpt, Place

Connection = AsyncConnection[Any]

SESSIONS_A_ROUND = 500
HITS_A_SESSION = 20
EXCERPTS_A_SESSION = 3
WORDS_OF = 100_000
"""Characters of a turn, or of a line, in which words are looked for: Postgres refuses more than
1 MiB of them at once, and a character may be four bytes, in a word and in parts of it."""
WORDS_BYTES = 1_000_000
"""Of a session's words, how many are kept: what is beyond 1 MiB, Postgres stores wrongly."""


def _said(text: str) -> str:
    """Return SQL for the words of one turn, or of one line."""
    return f"to_tsvector('simple', left({text}, {WORDS_OF}))"


def _holds(text: str) -> str:
    """Return SQL for whether `word` is among the words of a turn, or of a line.

    Few texts hold it at all: only those are taken apart, which is what costs.
    """
    return f"strpos(lower({text}), word) > 0 AND word = ANY(tsvector_to_array({_said(text)}))"


_WANTED = "tsvector_to_array(to_tsvector('simple', %(text)s))"
_FRESH = f"""
    NOT s.is_indexed AND {_WANTED} <> '{{}}' AND NOT EXISTS (
        SELECT FROM unnest({_WANTED}) AS word
        WHERE NOT EXISTS (SELECT FROM turns t WHERE t.session_id = s.id
                AND {_holds("t.text")})
          AND NOT EXISTS (SELECT FROM unnest(string_to_array(s.legacy_transcript, E'\\n')) AS line
                WHERE {_holds("line")}))
"""  # noqa: S608 - constants

MATCHING = f"""
    SELECT session_id FROM session_search
    WHERE words @@ plainto_tsquery('simple', %(text)s)
    UNION ALL
    SELECT s.id FROM sessions s WHERE {_FRESH}
"""  # noqa: S608 - constants
"""Selects the ids of sessions in which all words of the parameter `text` were said."""

HOLDING = f"""
    (EXISTS (SELECT FROM session_search w WHERE w.session_id = s.id
                AND w.words @@ plainto_tsquery('simple', %(text)s) OFFSET 0) OR {_FRESH})
"""
"""Whether they were in the session `s`. Without the `OFFSET`, which changes nothing, Postgres may
read the words of all sessions to answer for a few."""

HOLDING_ALL = f"WITH holding AS MATERIALIZED ({MATCHING})"
"""Gathers all those sessions before they are looked at: as a rule too many to begin with."""

FEW = 2000
"""Up to so many sessions are named one by one."""

_GATHER = f"""
WITH due AS (
    SELECT id, legacy_transcript FROM sessions
    WHERE NOT is_indexed AND status <> 'active'
    ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
), spoken AS (
    SELECT due.id, word.lexeme FROM due
    JOIN turns t ON t.session_id = due.id, unnest({_said("t.text")}) AS word
    UNION
    SELECT due.id, word.lexeme FROM due, unnest(string_to_array(due.legacy_transcript, E'\\n'))
        AS line, unnest({_said("line")}) AS word
), measured AS (
    SELECT id, lexeme, sum(octet_length(lexeme)) OVER (PARTITION BY id ORDER BY lexeme) AS bytes
    FROM spoken
), gathered AS (
    INSERT INTO session_search (session_id, words)
    SELECT due.id, array_to_tsvector(
        COALESCE(array_agg(lexeme) FILTER (WHERE bytes <= {WORDS_BYTES}), '{{}}'))
    FROM due LEFT JOIN measured ON measured.id = due.id GROUP BY due.id
    ON CONFLICT (session_id) DO UPDATE SET words = EXCLUDED.words
)
UPDATE sessions s SET is_indexed = true FROM due WHERE s.id = due.id
"""  # noqa: S608 - constants

_LEXEMES = "SELECT tsvector_to_array(to_tsvector('simple', %s))"

_TURNS = f"""
SELECT asked.id, found.id, found.role, found.text FROM unnest(%(sessions)s::uuid[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT t.id, t.role, t.text, t.started_at, t.seq FROM (
        SELECT id, role, text, started_at, seq FROM turns
        WHERE session_id = asked.id ORDER BY started_at, seq OFFSET 0) AS t
    WHERE EXISTS (SELECT FROM unnest(%(words)s::text[]) AS word WHERE {_holds("t.text")})
    ORDER BY t.started_at, t.seq LIMIT %(most)s) AS found
ORDER BY asked.id, found.started_at, found.seq
"""  # noqa: S608 - constants
"""Of each session only so many turns are taken apart as are needed, in their order: without the
`OFFSET`, which changes nothing, Postgres takes all of them apart first."""

_LEGACY = """
SELECT id, legacy_transcript FROM sessions
WHERE id = ANY(%s) AND legacy_transcript IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that has some of the words, and where: start and end, in UTF-16 code units."""

    message_id: str
    role: Role
    places: list[Place]
    excerpt: Excerpt | None
    """What was said around the first place; of a session's first 3 messages alone."""


async def gather(db: Connection, *, limit: int = SESSIONS_A_ROUND) -> int:
    """Gather the words of ended sessions that wait for it; return of how many."""
    return (await db.execute(_GATHER, [limit])).rowcount


async def forget(db: Connection, session_id: UUID) -> None:
    """Have the words of a session gathered anew: its turns are others now."""
    await db.execute("UPDATE sessions SET is_indexed = false WHERE id = %s", [session_id])


async def few(db: Connection, text: str) -> list[UUID] | None:
    """Return the sessions in which all words of `text` were said, None if they are many."""
    query = f"SELECT * FROM ({MATCHING}) AS found LIMIT %(most)s"  # noqa: S608 - a constant
    found = await (await db.execute(query, {"text": text, "most": FEW + 1})).fetchall()
    return [session_id for (session_id,) in found] if len(found) <= FEW else None


async def hits(db: Connection, sessions: Sequence[UUID], text: str) -> dict[UUID, list[Hit]]:
    """Return where words of `text` are in `sessions`: of each the first 20 messages."""
    row = await (await db.execute(_LEXEMES, [text])).fetchone()
    words: list[str] = row[0] if row else []
    if not words or not sessions:
        return {}
    found: dict[UUID, list[Hit]] = {}
    values = {"sessions": list(sessions), "words": words, "most": HITS_A_SESSION}
    for session_id, turn_id, role, said in await (await db.execute(_TURNS, values)).fetchall():
        of_session = found.setdefault(session_id, [])
        of_session.append(_hit(str(turn_id), Role(role), said, words, len(of_session)))
    without = [session_id for session_id in sessions if session_id not in found]
    for session_id, transcript in await (await db.execute(_LEGACY, [without])).fetchall():
        found[session_id] = _legacy_hits(session_id, transcript, words)
    return found


def _legacy_hits(session_id: UUID, transcript: str, words: list[str]) -> list[Hit]:
    lines = [line for line in legacy.parse(transcript) if excerpts.places(line.text, words)]
    return [
        _hit(legacy.message_id(session_id, line), line.role, line.text, words, number)
        for number, line in enumerate(lines[:HITS_A_SESSION])
    ]


def _hit(message_id: str, role: Role, text: str, words: list[str], number: int) -> Hit:
    """Return the hit in a message; `number` others of its session are before it."""
    shown = excerpts.excerpt(text, words) if number < EXCERPTS_A_SESSION else None
    return Hit(message_id, role, excerpts.places(text, words), shown)
