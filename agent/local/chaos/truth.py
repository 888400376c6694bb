"""What a campaign has to leave in Postgres, by the records of those who spoke; and what is there.

The verdict believes no id and no time that the code under test made: what was said is what a job
was about to record, and what must be kept is what it said it had recorded, long enough before it
was killed. A full disk is no crash, but who is killed while it is full cannot have kept what came
since: then the session has to say that something is missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent.jobs.summary import MIN_TURNS
from agent.local import state
from agent.local.chaos import records
from agent.local.chaos.clocks import Clock
from agent.local.chaos.database import Database
from agent.local.chaos.endings import Ending, StoredEnd
from agent.local.chaos.records import Entry
from agent.local.chaos.scene import LiveJob
from agent.local.chaos.verdict import (
    HEARD_SECONDS,
    SEGMENT_SECONDS,
    Finding,
    Kind,
    Spoken,
    Stored,
)
from persistence.events import EndReason, Role

RETRY_SECONDS = 1.5
"""A journal writes again at the latest this long after a disk has room."""
END_SLACK = 1.0
"""Seconds between a death and the last sign of life that its journal shows, and clocks' ticks."""

Rows = list[dict[str, Any]]
Windows = Sequence[tuple[float, float]]
"""From and to, by `time.monotonic()`."""

_SESSIONS = """
SELECT s.id::text, s.room_name AS room, s.status, s.end_reason,
    extract(epoch FROM s.started_at)::float8 AS started,
    extract(epoch FROM s.ended_at)::float8 AS ended, s.duration_seconds::float8 AS duration,
    s.completeness, s.turn_count, s.reclaimed_at IS NOT NULL AS reclaimed,
    -- nothing follows those of a session in which only the AI spoke
    (SELECT CASE WHEN bool_or(t.role <> 'ai') THEN count(*) ELSE 0 END
        FROM turns t WHERE t.session_id = s.id)::int AS turns,
    (SELECT count(*) FROM analysis_runs a WHERE a.session_id = s.id AND a.kind = 'summary'
        AND a.transcript_sha256 = s.transcript_sha256)::int AS runs,
    (SELECT count(*) FROM chaos_summaries c WHERE c.session_id = s.id)::int
        - (SELECT count(*) FROM analysis_runs a WHERE a.session_id = s.id)::int AS more,
    (SELECT count(*) FROM chaos_ends e WHERE e.session_id = s.id AND NOT e.provisional)::int
        AS ends,
    EXISTS (SELECT FROM chaos_ends e WHERE e.session_id = s.id AND e.provisional
        AND e.lease_held) AS taken
FROM sessions s WHERE %(rooms)s::text[] IS NULL OR s.room_name = ANY(%(rooms)s) ORDER BY s.id
"""
_TURNS = """
SELECT t.session_id::text AS session, t.role, t.speaker_identity, t.text, t.interrupted,
    t.seq, t.item_id, extract(epoch FROM t.started_at)::float8 AS began
FROM turns t JOIN sessions s ON s.id = t.session_id
WHERE %(rooms)s::text[] IS NULL OR s.room_name = ANY(%(rooms)s)
ORDER BY t.session_id, t.started_at, t.seq
"""
_REFUSED = """
SELECT d.session_id::text AS session, d.kind, d.sqlstate, d.constraint_name
FROM dead_letters d LEFT JOIN sessions s ON s.id = d.session_id
WHERE %(rooms)s::text[] IS NULL OR s.room_name = ANY(%(rooms)s)
"""


@dataclass(frozen=True)
class Told:
    """What one job told of its session."""

    job: LiveJob
    entries: Sequence[Entry]
    full: Windows
    """When its disk was full."""
    epoch: float = 0.0
    """What the clock showed by which it began, at the zero of `time.monotonic()`."""

    @property
    def session(self) -> str:
        return str(self.job.session)

    def spoken(self) -> list[Spoken]:
        """Return what was said, and how much of it has to be there."""
        return [*self._segments(), *self._replies()]

    def _segments(self) -> Iterable[Spoken]:
        done = {(e["line"], e["piece"]): e["t"] for e in self.entries if e["event"] == "said"}
        speaker = f"client-{self.job.talk.number}"
        for said in self._of("says"):
            at = done.get((said["line"], said["piece"]))
            kept = None if self._safe(at, SEGMENT_SECONDS) else ""
            began = said["t"] + self.epoch
            yield Spoken(self.session, Role.CLIENT, said["text"], began, speaker, kept)

    def _replies(self) -> Iterable[Spoken]:
        safe = {
            (e["line"], e["piece"])
            for e in self.entries
            if e["event"] == "heard" and self._safe(e["t"], HEARD_SECONDS)
        }
        heard: dict[int, list[Entry]] = {}
        for entry in self._of("hears"):
            heard.setdefault(entry["line"], []).append(entry)
        for line, words in heard.items():
            kept = [word["text"] for word in words if (line, word["piece"]) in safe]
            began = words[0]["t"] + self.epoch
            text = " ".join(self.job.talk.lines[line].pieces)
            yield Spoken(self.session, Role.AI, text, began, kept=kept[-1] if kept else "")

    def _safe(self, at: float | None, seconds: float) -> bool:
        """Return whether what was recorded `at` was so `seconds` before its process died."""
        died = self.job.crashed_at
        if at is None:
            return False
        return died is None or (at <= died - seconds and not self._unwritten(at, seconds))

    def _unwritten(self, at: float, seconds: float) -> bool:
        """Return whether the disk had no room for what was recorded `at` until the job died."""
        died = self.job.crashed_at or 0.0
        return any(
            since - seconds <= at and since <= died <= until + RETRY_SECONDS
            for since, until in self.full
        )

    @property
    def excused(self) -> set[str]:
        """What had been recorded in time and may be missing, if the session says so: its words."""
        died = self.job.crashed_at
        if died is None:
            return set()
        done = {
            (e["line"], e["piece"])
            for e in self.entries
            if e["event"] == "said"
            and e["t"] <= died - SEGMENT_SECONDS
            and self._unwritten(e["t"], SEGMENT_SECONDS)
        }
        return {e["text"] for e in self._of("says") if (e["line"], e["piece"]) in done}

    def ending(self, stored: dict[str, Any] | None) -> Ending | None:
        """Return how the session has to have ended; None where it need not have been born."""
        begun = next(self._of("begins"), None)
        if stored is None and (begun is None or not self._safe(begun["t"], SEGMENT_SECONDS)):
            return None
        own = next(self._of("ends"), None)
        return Ending(
            self.session,
            reasons=frozenset(self._reasons(own)),
            completeness=frozenset(self._completeness(own)),
            began=self._began_in(begun),
            ended=self._ended_in(own),
            jobs=int(stored is not None and stored["turns"] >= MIN_TURNS),
        )

    def _reasons(self, own: Entry | None) -> Iterable[str]:
        if own is not None:
            yield own["reason"]
        if self.job.crashed_at is not None:
            yield EndReason.WORKER_LOST
            yield EndReason.ERROR

    def _completeness(self, own: Entry | None) -> Iterable[str]:
        closed = next(self._of("closed"), None)
        if self.job.crashed_at is not None:
            yield from ("recovered", "partial")
        if own is not None and not own["trouble"]:
            yield "complete"
        if own is not None and (own["trouble"] or (closed is not None and closed["trouble"])):
            yield "partial"  # a disk that filled as the end was written may have been in time

    def _began_in(self, begun: Entry | None) -> tuple[float, float] | None:
        if begun is None:
            return None
        return self.job.born + self.epoch - END_SLACK, begun["t"] + self.epoch + END_SLACK

    def _ended_in(self, own: Entry | None) -> tuple[float, float]:
        last = own or self.entries[-1] if self.entries else None
        since = last["t"] if last else 0.0
        until = self.job.crashed_at or since
        return since + self.epoch - END_SLACK, max(since, until) + self.epoch + END_SLACK

    def _of(self, event: str) -> Any:
        return (entry for entry in self.entries if entry["event"] == event)


def told(job: LiveJob, full: Windows, clock: Clock, stored: dict[str, Any] | None) -> Told:
    """Return what `job` told, whose session is `stored`, by the `clock` of its machine.

    Where that jumped just as the job began, nobody can tell by which it did: any will do.
    """
    entries = records.read(job.record)
    right = time.time() - time.monotonic()
    begun = next((entry["t"] for entry in entries if entry["event"] == "begins"), job.born)
    started = stored["started"] if stored else begun + right
    off = min(clock.showed(job.born, begun), key=lambda off: abs(begun + right + off - started))
    return Told(job, entries, full, right + off)


@dataclass(frozen=True)
class Held:
    """What Postgres holds of a campaign."""

    sessions: Rows
    turns: Rows
    refused: Rows = field(default_factory=list)
    """Dead letters."""

    @classmethod
    def read(cls, database: Database, rooms: Sequence[str] | None = None) -> Held:
        """Read the sessions of `rooms`, all if None, and their turns as a transcript has them."""
        wanted = {"rooms": None if rooms is None else list(rooms)}
        return cls(*(database.query(what, wanted) for what in (_SESSIONS, _TURNS, _REFUSED)))

    def keep(self, folder: Path) -> None:
        """Write it all to `folder`, as evidence."""
        text = json.dumps(asdict(self), indent=1)
        state.write_private(folder / "held.json", text)

    def stored(self) -> list[Stored]:
        return [
            Stored(
                row["session"],
                Role(row["role"]),
                row["text"],
                row["speaker_identity"],
                row["interrupted"],
                row.get("began"),
            )
            for row in self.turns
        ]

    def ends(self, broken: frozenset[str]) -> list[StoredEnd]:
        """Return the ends of the sessions, one that came twice as two.

        `broken` are the sessions whose receipt is not that of their turns. Of the jobs count those
        for the transcript as it is, and what was written without one of its own.
        """
        return [
            StoredEnd(
                row["id"],
                row["status"],
                row["end_reason"],
                row["started"],
                row["ended"],
                row["duration"],
                row["completeness"],
                receipt_kept=row["id"] not in broken,
                reclaimed=row["taken"] or row["reclaimed"],
                jobs=row["runs"] + row["more"],
            )
            for row in self.sessions
            for _ in range(max(1, row["ends"]))
        ]

    def dead_letters(self) -> list[Finding]:
        """Return what was put aside: in a campaign nothing is said that Postgres cannot hold."""
        return [
            Finding(
                Kind.REFUSED, row["session"], "{kind}: {sqlstate} {constraint_name}".format(**row)
            )
            for row in self.refused
        ]

    def row(self, session: str) -> dict[str, Any] | None:
        return next((row for row in self.sessions if row["id"] == session), None)

    def unsaid(self, told: Told) -> list[Finding]:
        """Return what is excused, missing, and not confessed by its session's receipt."""
        row = self.row(told.session)
        if row is None or row["completeness"] == "partial":
            return []
        text = " ".join(turn["text"] for turn in self.turns if turn["session"] == told.session)
        return [
            Finding(Kind.LOST, told.session, f"{words} (and the receipt says nothing)")
            for words in sorted(told.excused)
            if words.split()[0] not in text
        ]
