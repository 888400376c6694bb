"""A job of a process campaign: the real recorder and journal, fed by a plan instead of a voice.

It says what it is about to record, and that it has recorded it: what it was killed between may be
stored or not, but what is stored was said.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from agent import logs
from agent.local.chaos.plan import Talk
from agent.local.chaos.records import Record
from agent.local.chaos.speech import Fate, Line, Way
from agent.settings import Settings
from agent.worker.people import Person
from agent.worker.recorder import Recorder, Utterance
from agent.worker.scribe import Scribe
from persistence.events import EndReason, Role, Started
from persistence.journal import JournalWriter

TOLD_TO_END = signal.SIGUSR1
"""How its worker tells it to end; SIGTERM is not for jobs."""
_CLOSE_SECONDS = 30.0
_LOOK_SECONDS = 0.01


def run(settings: Settings, folder: Path, session_id: UUID, talk: Talk, record: Path) -> None:
    """Hold the session `talk`, journaled in `folder`; what it says of itself goes to `record`."""
    logs.configure(settings)
    told: list[int] = []
    signal.signal(TOLD_TO_END, lambda number, _: told.append(number))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    journal = JournalWriter.create(folder, session_id, max_bytes=settings.journal_max_bytes)
    Job(Record(record), journal, talk, session_id).hold(told)


class Step(NamedTuple):
    """One thing that is done in a session."""

    at: float
    """Seconds from its beginning."""
    do: Callable[[], None]


class Job:
    def __init__(self, record: Record, journal: JournalWriter, talk: Talk, session: UUID) -> None:
        identity = f"client-{talk.number}"
        self._record = record
        self._talk = talk
        self._session = session
        self._client = Person(Role.CLIENT, identity, identity)
        self._scribe = Scribe(Recorder(self._client, "en"), journal)
        self._heard: dict[int, datetime] = {}

    def hold(self, told: list[int]) -> None:
        """Hold the session until its end, or until something is in `told`."""
        self._begin()
        began = time.monotonic()
        for step in sorted(self._steps(), key=lambda step: step.at):
            while not told and (left := began + step.at - time.monotonic()) > 0:
                time.sleep(min(left, _LOOK_SECONDS))
            if told:
                break
            step.do()
        self._end(EndReason.WORKER_SHUTDOWN if told else self._talk.ends)

    def _begin(self) -> None:
        now = self._scribe.clock.now()
        self._record.say("begins", session=str(self._session), identity=self._client.identity)
        started = Started(
            at=now,
            room_name=f"room-{self._session}",
            client_identity=self._client.identity,
            client_user=self._client.user,
            pipeline="stt-llm-tts",
            prompt_version="1",
        )
        self._scribe.start(started)

    def _end(self, reason: EndReason) -> None:
        self._record.say("ends", reason=reason, trouble=self._scribe.journal.trouble)
        self._scribe.end(reason)
        durable = self._scribe.journal.close(_CLOSE_SECONDS)
        self._record.say("closed", durable=durable, trouble=self._scribe.journal.trouble)

    def _steps(self) -> Iterator[Step]:
        for line in self._talk.lines:
            match line.way:
                case Way.CLIENT | Way.TYPED:
                    yield from self._said(line)
                case Way.AI:
                    yield from self._answered(line)
                case Way.MARKER:
                    yield Step(line.at, self._mark)

    def _mark(self) -> None:
        self._scribe.write(lambda now: self._scribe.recorder.marker(now, "mark"))

    def _said(self, line: Line) -> Iterator[Step]:
        for number in range(len(line.pieces)):
            yield Step(line.at + number * line.gap, partial(self._segment, line, number))
        if line.fate is Fate.TURN:
            yield Step(line.at + line.seconds, partial(self._client_turn, line))

    def _segment(self, line: Line, number: int) -> None:
        now = self._scribe.clock.now()
        text, typed = line.pieces[number], line.way is Way.TYPED
        said = Utterance("", text, now, now, typed=typed)
        self._record.say("says", line=line.number, piece=number, text=text, typed=typed)
        self._scribe.write(lambda at: self._scribe.recorder.segment(at, said, self._client))
        self._record.say("said", line=line.number, piece=number)

    def _client_turn(self, line: Line) -> None:
        item = Utterance(f"item-{line.number}", " ".join(line.pieces), typed=line.way is Way.TYPED)
        self._scribe.write(lambda now: self._scribe.recorder.client_turn(now, item))

    def _answered(self, line: Line) -> Iterator[Step]:
        words = line.pieces if line.fate is not Fate.INTERRUPTED else line.pieces[:-1]
        yield Step(line.at, partial(self._generated, line))
        for number in range(len(words)):
            yield Step(line.at + number * line.gap, partial(self._heard_word, line, number))
        if line.fate is not Fate.DROPPED:
            yield Step(line.at + line.seconds, partial(self._ai_turn, line, " ".join(words)))

    def _generated(self, line: Line) -> None:
        reply, text = f"reply-{line.number}", " ".join(line.pieces)
        self._scribe.write(lambda now: self._scribe.recorder.generated(now, reply, text))

    def _heard_word(self, line: Line, number: int) -> None:
        self._heard.setdefault(line.number, self._scribe.clock.now())
        heard = " ".join(line.pieces[: number + 1])
        self._record.say("hears", line=line.number, piece=number, text=heard)
        delta = f"{line.pieces[number]} "
        recorder = self._scribe.recorder
        self._scribe.write(lambda at: recorder.heard(at, f"reply-{line.number}", delta))
        self._record.say("heard", line=line.number, piece=number)

    def _ai_turn(self, line: Line, text: str) -> None:
        interrupted = line.fate is Fate.INTERRUPTED
        began = self._heard.get(line.number)
        item = Utterance(f"item-{line.number}", text, started_at=began, interrupted=interrupted)
        self._scribe.write(lambda now: self._scribe.recorder.ai_turn(now, item))
        self._record.say("answered", line=line.number, interrupted=interrupted)
