"""What was really said, by who saw it go over the wire, and what Postgres holds: for the verdict.

In a room it is the recogniser's stand-in who knows what a client said and when that reached the
worker, and the client's own ears that know what was heard of the AI. Without audio a `Talk` keeps
account of what it says to a journal, as the worker's job would write it.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import uuid_utils.compat as uuids
from broken_postgres import until

from agent.jobs.summary import MIN_TURNS
from agent.local.chaos.database import Database
from agent.local.chaos.endings import Ending, judge_ends
from agent.local.chaos.truth import Held
from agent.local.chaos.verdict import Away, Finding, Spoken, due, judge
from agent.local.client import SAMPLE_RATE, RoomClient
from agent.local.providers import lines
from agent.local.providers.tones import Code, Decoder, Kind
from agent.worker.people import Person
from agent.worker.recorder import Recorder, Utterance
from agent.worker.scribe import Scribe
from persistence import audit
from persistence.database import connect
from persistence.events import EndReason, Role, Started
from persistence.journal import JournalWriter

ROOMY = 1024**3
CLOCKS = 0.005
"""Seconds by which a talk's look at the clock and its journal's may differ."""
CLOSE_SECONDS = 20.0
END_SECONDS = 2.0
"""In which an end is journaled after it happened."""

_DEFERRED = """
SELECT args->>'session_id' AS session, count(*)::int AS jobs FROM procrastinate_jobs
WHERE scheduled_at IS NULL AND args ? 'session_id' GROUP BY 1
"""
_numbers = itertools.count(1)
"""No two utterances of a test run are the same."""


@dataclass
class Talk:
    """A session without audio, in this process, and its own account of what was said in it."""

    session: UUID
    scribe: Scribe
    spoken: list[Spoken] = field(default_factory=list)
    reason: EndReason | None = None
    ended_at: float = 0.0

    @classmethod
    def begin(cls, folder: Path, client: str = "client-anna") -> Talk:
        """Begin a session whose journal is in `folder`."""
        session = uuids.uuid7()
        journal = JournalWriter.create(folder, session, max_bytes=ROOMY)
        talk = cls(session, Scribe(Recorder(Person(Role.CLIENT, client, client), "en"), journal))
        talk.scribe.start(
            Started(
                at=talk.scribe.clock.now(),
                room_name=f"room-{session}",
                client_identity=client,
                client_user=client,
                pipeline="stt-llm-tts",
                prompt_version="1",
            )
        )
        return talk

    def exchange(self, count: int = 1) -> Talk:
        """Say two pieces that are one turn, and be answered; `count` times."""
        for _ in range(count):
            pieces = [lines.utterance(next(_numbers)) for _ in range(2)]
            for piece in pieces:
                self._segment(piece)
            item = Utterance(f"item-{uuids.uuid7()}", " ".join(pieces))
            self.scribe.write(partial(self.scribe.recorder.client_turn, utterance=item))
            self._answer(lines.reply(next(_numbers)))
        return self

    def end(self, reason: EndReason = EndReason.CLIENT_LEFT) -> Talk:
        """End, with all of it on disk."""
        self.reason, self.ended_at = reason, time.time()
        self.scribe.end(reason)
        assert self.scribe.journal.close(CLOSE_SECONDS)
        return self

    @property
    def turns(self) -> int:
        return self.scribe.recorder.turn_count

    def ending(self, *, reclaimable: bool = False) -> Ending:
        """Return how it has to have ended; `reclaimable` where its worker was out of touch."""
        assert self.reason is not None
        return Ending(
            str(self.session),
            frozenset({self.reason}),
            frozenset({"completed"}),
            frozenset({"complete"}),
            ended=(self.ended_at - CLOCKS, self.ended_at + END_SECONDS),
            reclaimable=reclaimable,
            jobs=int(self.turns >= MIN_TURNS),
        )

    def _segment(self, text: str) -> None:
        now = self.scribe.clock.now()
        speaker = self.scribe.recorder.client
        piece = Spoken(str(self.session), Role.CLIENT, text, time.time(), speaker.identity)
        self.spoken.append(piece)
        said = Utterance("", text, now, now)
        self.scribe.write(lambda at: self.scribe.recorder.segment(at, said, speaker))

    def _answer(self, text: str) -> None:
        self.spoken.append(Spoken(str(self.session), Role.AI, text, time.time()))
        said = Utterance(f"item-{uuids.uuid7()}", text, started_at=self.scribe.clock.now())
        self.scribe.write(lambda now: self.scribe.recorder.ai_turn(now, said))


async def arrived(database: Database, *talks: Talk) -> None:
    """Wait until Postgres has all turns of `talks` so far."""
    counted = "SELECT count(*)::int AS turns FROM turns WHERE session_id = ANY(%(sessions)s)"
    sessions, turns = [talk.session for talk in talks], sum(talk.turns for talk in talks)
    await until(lambda: database.query(counted, {"sessions": sessions}) == [{"turns": turns}])


async def wrong(
    database: Database, talks: Sequence[Talk], *, reclaimable: bool = False
) -> list[Finding]:
    """Return all that is wrong with what Postgres holds of `talks`, and with what else it holds.

    The workers here run no jobs: those count that were deferred.
    """
    held = Held.read(database)
    async with await connect(database.url(database.port), "test") as db:
        broken = frozenset([str(found.session_id) async for found in audit.findings(db)])
    jobs = Counter({row["session"]: row["jobs"] for row in database.query(_DEFERRED)})
    spoken = [piece for talk in talks for piece in talk.spoken]
    endings = [talk.ending(reclaimable=reclaimable) for talk in talks]
    return [
        *judge(spoken, held.stored(), slack=CLOCKS),
        *judge_ends(endings, [replace(end, jobs=jobs[end.session]) for end in held.ends(broken)]),
    ]


def spoken_in_room(
    session: str,
    log: Iterable[dict[str, Any]],
    client: RoomClient,
    *,
    identity: str,
    away: Away = (),
) -> list[Spoken]:
    """Return what was said in the only room of a time, from the stand-in's `log` of that time.

    `away` is when the job was dead, by the clock of the log. What the AI said has to be there as
    far as whole sentences of it were heard.
    """
    heard = heard_sentences(client)
    spoken = []
    for entry in log:
        match entry["stage"], entry["event"]:
            case "stt", "heard":
                kept = None if due(entry["at"], away) else ""
                piece = Spoken(session, Role.CLIENT, entry["text"], entry["at"], identity, kept)
                spoken.append(piece)
            case "llm", "answered":
                kept = " ".join(_sentences(entry["text"])[: heard.get(entry["text"], 0)])
                spoken.append(Spoken(session, Role.AI, entry["text"], entry["at"], kept=kept))
    return spoken


def heard_sentences(client: RoomClient) -> dict[str, int]:
    """Return how many whole sentences of each reply came out of the client's loudspeaker."""
    heard: dict[str, int] = {}
    for audio in client.heard.values():
        decoder = Decoder(SAMPLE_RATE)
        for code in [*decoder.feed(bytes(audio.pcm)), *decoder.flush()]:
            if isinstance(code, Code) and code.kind is Kind.REPLY and code.last:
                heard[lines.reply(code.id)] = code.sentence + 1
    return heard


def _sentences(text: str) -> list[str]:
    return re.findall(r"[^.?!]+[.?!]", text)
