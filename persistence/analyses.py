"""What after-session jobs read and write: a session's transcript, and what was made of it.

An analysis belongs to one transcript, named by its hash. `begin` inserts first and so makes it once
per transcript, whoever else tries; a transcript that was completed later has another hash and is
analysed again, over the old result. Callers hold the transaction and commit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from persistence.events import transcript_sha256
from persistence.ids import new_id

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class TranscriptTurn:
    seq: int
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    active: bool
    """Whether its session still goes on: it was never ended, or a reclaim was taken back."""
    sha256: str
    """Of the turns that are in Postgres now, as the receipt computes it."""
    turns: tuple[TranscriptTurn, ...]
    """By `started_at`, then `seq`."""


@dataclass(frozen=True, slots=True)
class Run:
    """One analysis of one transcript."""

    session_id: UUID
    kind: str
    sha256: str
    """Of the transcript."""
    model: str
    prompt_version: str


async def transcript(db: Connection, session_id: UUID) -> Transcript | None:
    """Return the transcript of a session as Postgres holds it now, None if there is no session."""
    query = """
        SELECT s.status, t.seq, t.item_id, t.role, t.speaker_identity, t.text, t.interrupted
        FROM sessions s LEFT JOIN turns t ON t.session_id = s.id
        WHERE s.id = %s ORDER BY t.started_at, t.seq, t.id
    """
    async with db.cursor(row_factory=dict_row) as cursor:
        rows = await (await cursor.execute(query, (session_id,))).fetchall()
    if not rows:
        return None
    turns = [row for row in rows if row["seq"] is not None]
    hashed = ("seq", "item_id", "role", "speaker_identity", "text", "interrupted")
    return Transcript(
        active=rows[0]["status"] == "active",
        sha256=transcript_sha256(tuple(row[name] for name in hashed) for row in turns),
        turns=tuple(TranscriptTurn(row["seq"], row["role"], row["text"]) for row in turns),
    )


async def has_run(db: Connection, session_id: UUID, kind: str, sha256: str) -> bool:
    """Return whether the analysis `kind` of this very transcript is already there."""
    query = """
        SELECT 1 FROM analysis_runs
        WHERE session_id = %s AND kind = %s AND transcript_sha256 = %s
    """
    cursor = await db.execute(query, (session_id, kind, sha256))
    return await cursor.fetchone() is not None


async def lock_session(db: Connection, session_id: UUID) -> None:
    """Keep the session as it is until the transaction ends.

    Read the transcript after this, in a statement of its own: one statement that locks and reads
    would see the turns as they were before it had to wait.
    """
    await db.execute("SELECT 1 FROM sessions WHERE id = %s FOR NO KEY UPDATE", (session_id,))


async def begin(db: Connection, run: Run) -> bool:
    """Record that `run` is made; return False if there was one of its transcript before."""
    query = """
        INSERT INTO analysis_runs (id, session_id, kind, transcript_sha256, model, prompt_version)
        VALUES (%(id)s, %(session_id)s, %(kind)s, %(sha256)s, %(model)s, %(prompt_version)s)
        ON CONFLICT (session_id, kind, transcript_sha256) DO NOTHING
    """
    cursor = await db.execute(query, {"id": new_id(), **asdict(run)})
    return cursor.rowcount == 1


async def write_summary(db: Connection, session_id: UUID, summary: str) -> None:
    """Replace the session's summary."""
    await db.execute("UPDATE sessions SET ai_summary = %s WHERE id = %s", (summary, session_id))
