"""Makes journal events of what happens in a conversation; pure, it only keeps state.

Three streams come in: final segments of speech (before the framework does anything with them), the
conversation's items (turns, as the framework sees them), and what is heard of the AI while it
speaks. A turn names the segments that it absorbs. A segment that the framework dropped (spoken
over speech that may not be interrupted, a failed hook, a closed session) becomes a turn of its own
as soon as that is certain, at the latest at the end: what was said is never lost, and never twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import uuid_utils.compat as uuids

from agent.worker import measures
from agent.worker.people import AI, Person
from agent.worker.replies import Reply
from agent.worker.runs import end_of_speech, run_of, start_of_speech
from persistence.events import (
    Ended,
    EndReason,
    Event,
    Marker,
    Progress,
    Segment,
    Source,
    Turn,
    clean_text,
)
from persistence.recovery import receipt_of, turn_of_progress, turn_of_segment


@dataclass(frozen=True)
class Utterance:
    """A conversation's item as the framework gives it, its times by the session's clock."""

    item_id: str
    text: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    confidence: float | None = None
    interrupted: bool = False
    typed: bool = False
    metrics: Mapping[str, Any] = field(default_factory=dict)


class Recorder:
    """One session's state. Every method returns the events to journal, in order."""

    def __init__(self, client: Person, language: str | None) -> None:
        self.client = client
        self._language = language
        self._seq = 0
        self._turns: dict[str, Turn] = {}
        self._pending: list[Segment] = []
        self._reply: Reply | None = None
        self._aside: Reply | None = None
        self._steps: dict[str, int] = {}
        self._missing: set[str] = set()
        self._ended = False

    @property
    def turn_count(self) -> int:
        """How many turns the session has by now."""
        return len(self._turns)

    def miss(self, what: str) -> None:
        """Note that something of the session could not be recorded: its receipt will say so."""
        self._missing.add(what)

    def marker(self, now: datetime, kind: str, **data: Any) -> list[Event]:
        """Record a happening; `data` never holds what was said."""
        if self._ended:
            return []
        return [Marker(at=now, marker_id=uuids.uuid7(), seq=self._next_seq(), type=kind, data=data)]

    def segment(self, now: datetime, utterance: Utterance, speaker: Person) -> list[Event]:
        """Record a final piece of speech, or a typed message, that is not yet a turn."""
        text = clean_text(utterance.text).strip()
        if self._ended or not text:
            return []
        segment = Segment(
            at=now,
            segment_id=uuids.uuid7(),
            role=speaker.role,
            speaker_identity=speaker.identity,
            speaker_user=speaker.user,
            text=text,
            confidence=measures.share(utterance.confidence),
            language=self._language,
            source=Source.TEXT if utterance.typed else Source.VOICE,
            started_at=utterance.started_at or now,
            ended_at=utterance.ended_at or now,
        )
        self._pending.append(segment)
        return [segment]

    def client_turn(self, now: datetime, utterance: Utterance) -> list[Event]:
        """Record a turn of the client, and what the framework dropped before it."""
        text = clean_text(utterance.text).strip()
        if self._ended or not text or utterance.item_id in self._turns:
            return []
        source = Source.TEXT if utterance.typed else Source.VOICE
        dropped, absorbed = self._run_of(text, source, utterance.started_at)
        turn = Turn(
            at=now,
            turn_id=uuids.uuid7(),
            seq=0,
            item_id=utterance.item_id,
            role=self.client.role,
            speaker_identity=self.client.identity,
            speaker_user=self.client.user,
            text=text,
            confidence=measures.share(utterance.confidence),
            language=self._language,
            started_at=start_of_speech(utterance.started_at, absorbed) or now,
            ended_at=utterance.ended_at or end_of_speech(absorbed) or now,
            source=source,
            metrics=measures.finite(utterance.metrics),
            segment_ids=tuple(segment.segment_id for segment in absorbed),
        )
        # not before: where no turn can be made, what was said stays pending, and is one at the end
        self._settle([*dropped, *absorbed])
        return [*(self._promoted(now, segment) for segment in dropped), self._numbered(turn)]

    def generated(self, now: datetime, speech_id: str, delta: str) -> list[Event]:
        """Take text that the model made for the speech `speech_id`."""
        events = self._switch_reply(now, speech_id, more=bool(delta.strip()))
        if (reply := self._current(speech_id)) is not None:
            reply.generate(clean_text(delta))
        return events

    def heard(self, now: datetime, speech_id: str, delta: str) -> list[Event]:
        """Take text of the speech that has been heard."""
        events = self._switch_reply(now, speech_id)
        reply = self._current(speech_id)
        if reply is None:
            return events
        if delta:
            reply.hear(clean_text(delta), now)
        return [*events, *_due_progress(now, reply)]

    def ai_turn(self, now: datetime, utterance: Utterance) -> list[Event]:
        """Record a turn of the AI: the text that was heard, and what was meant if it differs."""
        text = clean_text(utterance.text).strip()
        if self._ended or not text or utterance.item_id in self._turns:
            return []
        turn = Turn(
            at=now,
            turn_id=uuids.uuid7(),
            seq=0,
            item_id=utterance.item_id,
            role=AI.role,
            speaker_identity=AI.identity,
            text=text,
            interrupted=utterance.interrupted,
            language=self._language,
            started_at=utterance.started_at or now,
            ended_at=utterance.ended_at or now,
            source=Source.VOICE,
            metrics=measures.finite(utterance.metrics),
        )
        reply = self._take_reply()  # not before, as in `client_turn`
        if reply is None:
            return [self._numbered(turn)]
        if not utterance.interrupted:
            self._reply = reply.split(text, turn.ended_at)
        own = {
            "generated_text": reply.meant(text),
            "started_at": utterance.started_at or reply.heard_since or now,
            "reply_id": reply.reply_id,
        }
        rest = _due_progress(now, self._reply) if self._reply else []
        return [self._numbered(turn.model_copy(update=own)), *rest]

    def aside(self, now: datetime, aside: Reply, delta: str) -> list[Event]:
        """Take text heard of what the AI says beside the conversation: no reply is touched."""
        if self._ended:
            return []
        self._aside = aside
        aside.hear(delta, now)
        return _due_progress(now, aside)

    def aside_over(self, now: datetime, *, interrupted: bool) -> list[Event]:
        """Make a turn of what was heard of the aside."""
        aside, self._aside = self._aside, None
        if self._ended or aside is None or not aside.heard.strip():
            return []
        turn = turn_of_progress(_progress(now, aside), now)
        return [self._numbered(turn.model_copy(update={"interrupted": interrupted}))]

    def end(self, now: datetime, reason: EndReason, *, trouble: str | None = None) -> list[Event]:
        """End the session: what no turn absorbed becomes turns, then the end and its receipt.

        `trouble` is the journal's, said in the receipt. A second end gives nothing.
        """
        if self._ended:
            return []
        promoted: list[Event] = [self._promoted(now, segment) for segment in self._pending]
        self._pending = []
        promoted += self._finish_reply(now)
        promoted += self.aside_over(now, interrupted=True)
        self._ended = True
        missing = ",".join(sorted(self._missing | ({trouble} if trouble else set()))) or None
        receipt = receipt_of(self._turns.values(), trouble=missing, recovered=False)
        return [*promoted, Ended(at=now, reason=reason, receipt=receipt)]

    def _run_of(
        self, text: str, source: Source, started_at: datetime | None
    ) -> tuple[list[Segment], list[Segment]]:
        """Return the pending segments that came before a turn's own, and the turn's own.

        A turn's text is its segments joined by blanks; the run of segments that gives it is the
        turn's, of several the one that began when it did. Where none does (a transcript cut off at
        the close has an interim tail), the segments whose text it holds are. Later ones stay, and
        so does what came another way: of what is typed and what is spoken at the same time either
        may be a turn first.
        """
        alike = [segment for segment in self._pending if segment.source == source]
        first, after = run_of(text, alike, started_at)
        return alike[:first], alike[first:after]

    def _settle(self, segments: list[Segment]) -> None:
        """Take note that `segments` are in turns."""
        settled = {segment.segment_id for segment in segments}
        self._pending = [s for s in self._pending if s.segment_id not in settled]

    def _switch_reply(self, now: datetime, speech_id: str, *, more: bool = False) -> list[Event]:
        """Make a reply of `speech_id` the one that lasts; the one before it ends if it differs.

        A speech that had its reply has another one only if there are `more` words made for it, and
        no other is on: what comes late is of a reply that is a turn already.
        """
        if self._ended or self._current(speech_id) is not None:
            return []
        step = self._steps.get(speech_id, 0) + 1
        if step > 1 and (self._reply is not None or not more):
            return []
        events = self._finish_reply(now)
        self._reply = Reply(speech_id, step)
        return events

    def _current(self, speech_id: str) -> Reply | None:
        """Return the reply that lasts if it is of `speech_id`: a late word is no other's."""
        reply = self._reply
        return reply if reply is not None and reply.speech_id == speech_id else None

    def _take_reply(self) -> Reply | None:
        """Return the reply that lasted: it does no more."""
        reply, self._reply = self._reply, None
        if reply is not None:
            self._steps[reply.speech_id] = reply.step
        return reply

    def _finish_reply(self, now: datetime) -> list[Event]:
        """End a reply that never became an item: what was heard of it is an interrupted turn."""
        reply = self._take_reply()
        if reply is None or not reply.heard.strip():
            return []
        return [self._numbered(turn_of_progress(_progress(now, reply), now))]

    def _promoted(self, now: datetime, segment: Segment) -> Turn:
        return self._numbered(turn_of_segment(segment, now))

    def _numbered(self, turn: Turn) -> Turn:
        return self._kept(turn.model_copy(update={"seq": self._next_seq()}))

    def _kept(self, turn: Turn) -> Turn:
        self._turns[turn.item_id] = turn
        return turn

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq


def _due_progress(now: datetime, reply: Reply) -> list[Event]:
    return [_progress(now, reply)] if reply.journal() else []


def _progress(now: datetime, reply: Reply) -> Progress:
    return Progress(
        at=now,
        reply_id=reply.reply_id,
        text=reply.heard.strip(),
        generated_text=reply.meant(reply.heard),
        started_at=reply.heard_since or now,
    )
