"""What a room campaign has to leave in Postgres, by what the providers heard and clients read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path

import prompts
from agent.jobs.summary import MIN_TURNS
from agent.local.chaos import records
from agent.local.chaos.clocks import Clock
from agent.local.chaos.endings import Ending, judge_ends
from agent.local.chaos.plan import Talk
from agent.local.chaos.records import Entry
from agent.local.chaos.truth import Held
from agent.local.chaos.verdict import (
    HEARD_SECONDS,
    SEGMENT_SECONDS,
    Finding,
    Kind,
    Spoken,
    due,
    judge,
)
from agent.local.providers import lines
from persistence.events import EndReason, Role

CLOCKS_SECONDS = 1.5
"""By how much two speakers' times may disagree: one is that of the audio, one that of its text."""
EARLY_SECONDS = 5.0
"""From an utterance's beginning until its final text: one that was cut off is given up late."""
ON_ITS_WAY_SECONDS = 0.4
"""From the provider's log of a final segment until it is sent and has arrived, machine under load;
Realtime sends its transcript a moment after that."""
_OFTEN = 12
"""How often a phrase may be said in one room: each agent greets, each failure is excused for."""
_PHRASES = ("apology", "farewell", "filler", "time_up", "time_warning", "welcome")

WAITING = """
SELECT count(*)::int AS waiting FROM procrastinate_jobs j
JOIN sessions s ON s.id::text = j.args->>'session_id'
WHERE s.room_name = ANY(%(rooms)s) AND j.status IN ('todo', 'doing') AND j.scheduled_at IS NULL
"""


@dataclass
class Room:
    """One room with one client, and what befell it."""

    name: str
    talk: Talk
    record: Path
    """Of its client."""
    died: list[float] = field(default_factory=list)
    """When jobs were killed, this one's perhaps, by `time.time()`."""
    unanswered: bool = False
    """Whether a provider failed."""
    told_to_end: bool = False
    cut_off: bool = False
    """Whether the LiveKit server was killed."""
    away: bool = False
    """Whether its client is about to come back."""
    over: bool = False

    @property
    def client(self) -> str:
        return f"client-{self.talk.number}"

    def spoken(self, said: Sequence[Entry], unsent: Collection[int]) -> list[Spoken]:
        """Return what was spoken in it, by the providers' log `said`.

        `unsent` are the numbers of those of its entries that a fault kept from the worker.
        """
        heard = self._heard(said)
        unowned = {*unsent, *(entry["n"] for entry in heard if not entry["ids"])}
        pieces = [
            Spoken(
                self.name,
                Role.CLIENT,
                entry["text"],
                entry["at"],
                self.client,
                None if entry["n"] not in unowned and self._safe(entry["at"]) else "",
            )
            for entry in heard
        ]
        read = self._read({lines.reply(id_) for entry in heard for id_ in entry["ids"][-1:]})
        for entry in (entry for entry in heard if entry["ids"]):
            reply = lines.reply(entry["ids"][-1])
            kept = max((text for text in read if reply.startswith(text)), key=len, default="")
            read = [text for text in read if text != kept]  # heard twice, it was answered once
            pieces.append(Spoken(self.name, Role.AI, reply, entry["at"], kept=kept))
        return pieces + self._phrases(heard, read)

    def _heard(self, said: Sequence[Entry]) -> list[Entry]:
        """Return what was heard of this room's client.

        Of words that were cut off in the middle nothing tells whose they are, but that they came
        over a connection that has heard this client besides. Where it has heard nobody else they
        may be anybody's.
        """
        ids = {int(line.pieces[0]) for line in self.talk.lines}
        heard = [entry for entry in said if entry["event"] == "heard"]
        known = {entry["connection"] for entry in heard if entry["ids"]}
        own = {entry["connection"] for entry in heard if ids & set(entry["ids"])}
        return [e for e in heard if e["connection"] in own or e["connection"] not in known]

    def _safe(self, at: float) -> bool:
        """Return whether what a provider sent `at` arrived long enough before any death."""
        away = [(died - ON_ITS_WAY_SECONDS, died + SEGMENT_SECONDS) for died in self.died]
        return due(at, away)

    def _read(self, replies: AbstractSet[str]) -> list[str]:
        """Return what the client has read of the AI, each long enough before any death.

        Captions grow as the audio is played; of one that is not all of a reply, its last word
        counts for nothing: it may have been half a word, or one that was on its way when the reply
        was cut short. So few words that they could be of several replies, or of a phrase, prove
        none.
        """
        away = [(died, died) for died in self.died]
        known = replies | _phrases()
        read: dict[str, str] = {}
        for entry in records.read(self.record):
            if entry["event"] == "read" and due(entry["at"], away, HEARD_SECONDS):
                words = entry["text"].split()
                whole = " ".join(words) in known
                read[entry["segment"]] = " ".join(words if whole else words[:-1])
        return [
            text
            for text in read.values()
            if text and sum(reply.startswith(text) for reply in known) == 1
        ]

    def _phrases(self, heard: Sequence[Entry], read: Sequence[str]) -> list[Spoken]:
        """Return what the AI may have said besides, at any time, and has to where it was read."""
        at = heard[0]["at"] if heard else 0.0
        pieces = []
        for text in sorted(_phrases()):
            kept = [caption for caption in read if text.startswith(caption)]
            kept += [""] * (_OFTEN - len(kept))
            pieces += [Spoken(self.name, Role.AI, text, at, kept=words) for words in kept]
        return pieces

    def reasons(self) -> set[EndReason]:
        """Return why its sessions may have ended."""
        reasons = {EndReason.CLIENT_LEFT}
        if self.died:
            reasons |= {EndReason.ERROR, EndReason.WORKER_LOST}
        if self.told_to_end:
            reasons.add(EndReason.WORKER_SHUTDOWN)
        if self.cut_off or self.unanswered:
            reasons.add(EndReason.ERROR)
        return reasons


def unsent(said: Sequence[Entry], told: Sequence[tuple[float, float]]) -> set[int]:
    """Return the numbers of the final segments in the log `said` that were not sent, or late.

    `told` says from when to when the recogniser was told to fail: the next one that it makes does.
    What a Realtime provider heard as its connection was closed, it had nobody to tell.
    """
    finals = [e for e in said if e["stage"] == "stt" and e["event"] == "heard"]
    lost: set[int] = set()
    for since, until in told:
        lost.update(e["n"] for e in finals if since <= e["at"] <= until)
        lost.update([e["n"] for e in finals if e["at"] > until][:1])
    return lost | _heard_too_late(said)


def _heard_too_late(said: Sequence[Entry]) -> set[int]:
    spoken = [entry for entry in said if entry["stage"] == "realtime"]
    closed = {e["connection"]: e["at"] for e in spoken if e["event"] == "closed"}
    return {
        entry["n"]
        for entry in spoken
        if entry["event"] == "heard"
        and closed.get(entry["connection"], float("inf")) - entry["at"] < SEGMENT_SECONDS
    }


def righted(held: Held, clock: Clock, since: float) -> tuple[Held, list[Finding]]:
    """Return `held` with all times as they were, whatever the worker's `clock` showed.

    A session's times are those of that clock when it began; it began after `since`, by
    `time.monotonic()`. That of which this cannot be is found.
    """
    offs = {row["id"]: clock.off_at(row["started"], since) for row in held.sessions}
    off = {session: found or 0.0 for session, found in offs.items()}
    sessions = [
        {**row, "started": row["started"] - off[row["id"]], "ended": row["ended"] - off[row["id"]]}
        if row["ended"] is not None
        else row
        for row in held.sessions
    ]
    began = {row["id"]: row["started"] for row in sessions}
    turns = [{**turn, "began": turn["began"] - off[turn["session"]]} for turn in held.turns]
    turns.sort(key=lambda turn: began[turn["session"]])
    findings = [
        Finding(Kind.UNTRUE_END, session, "it began at a time that no clock showed")
        for session, found in offs.items()
        if found is None
    ]
    return Held(sessions, turns, held.refused), findings


def judged(
    rooms: Sequence[Room],
    spoken: Sequence[Spoken],
    held: Held,
    broken: frozenset[str],
    lived: tuple[float, float] | None = None,
) -> list[Finding]:
    """Return all that is wrong; `broken` are the sessions with a wrong receipt.

    `lived` is from when to when there can have been sessions, in seconds since 1970.
    """
    rooms_of = {row["id"]: row["room"] for row in held.sessions}
    stored = [replace(turn, session=rooms_of[turn.session]) for turn in held.stored()]
    ending = {room.name: frozenset(map(str, room.reasons())) for room in rooms}
    expected = [
        Ending(
            row["id"],
            ending[row["room"]],
            began=lived,
            ended=lived,
            jobs=int(row["turns"] >= MIN_TURNS),
        )
        for row in held.sessions
    ]
    return [
        *(
            f
            for f in judge(
                spoken, stored, slack=CLOCKS_SECONDS, early=EARLY_SECONDS, late=CLOCKS_SECONDS
            )
            if not _of_order(f)
        ),
        *judge_ends(expected, held.ends(broken)),
        *held.dead_letters(),
        *_unheld(rooms, set(rooms_of.values())),
    ]


def _of_order(finding: Finding) -> bool:
    """Return whether a finding is that phrases, which have no time, stand where they stand."""
    return finding.kind is Kind.MISORDERED and finding.what in _phrases()


def _phrases() -> set[str]:
    """Return what the AI may say to anybody at any time."""
    said = {prompts.spoken(name).text for name in _PHRASES}
    return said | {lines.reply(lines.GREETING_ID), lines.UNHEARD}


def _unheld(rooms: Sequence[Room], held: set[str]) -> list[Finding]:
    """Return the rooms in which a client was answered, and of which there is no session."""
    return [
        Finding(Kind.MISSING, room.name, "a client was answered, and there is no session")
        for room in rooms
        if room.name not in held and records.first(room.record, "read") is not None
    ]
