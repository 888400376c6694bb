"""However a conversation goes and wherever its job dies: each word once, by its speaker, one end.

A state machine talks to the recorder as LiveKit does: final segments, items that join some of them
(and may have an unfinished tail, come twice, or never), replies that are generated, heard, cut off
or switched, captions that come late. At the end the job is killed after every single event, and in
the middle of lines, and what a recovery makes of the rest is held against what had been said.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent.worker.people import Person
from agent.worker.recorder import Recorder, Utterance
from persistence.events import (
    EVENTS,
    Completeness,
    Ended,
    EndReason,
    Event,
    Marker,
    Progress,
    Role,
    Segment,
    Source,
    Turn,
    transcript_sha256,
)
from persistence.journal.lines import encode
from persistence.recovery import recovered_end

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLIENT = Person(Role.CLIENT, "client-7", "7")
CHECKSUM = len("01234567 ")

WORDS = st.lists(st.sampled_from(["yes", "no", "well", "I", "do"]), min_size=1, max_size=3)
BLANKS = st.sampled_from(["", " ", "\n\t"])
GAPS = st.sampled_from([0.0, 0.05, 0.3, 2.0])


@dataclass
class Piece:
    """A final segment that the framework has not made an item of."""

    words: list[str]
    started_at: datetime
    ended_at: datetime
    typed: bool


@dataclass
class Reply:
    """One of the AI's replies; its words begin with its number, so that turns tell whose they are.

    A speech may have several, one after the other.
    """

    number: int
    speech_id: str
    generated: str = ""
    heard: str = ""
    item: str | None = None
    """The text of its item, once it has one."""

    @property
    def mark(self) -> str:
        return f"r{self.number}w"


class Session(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.recorder = Recorder(CLIENT, "en")
        self.seconds = 0.0
        self.events: list[Event] = []
        self.pieces: list[Piece] = []
        self.items = 0
        self.last_item: Utterance | None = None
        self.replies: list[Reply] = []
        self.ended = False
        self.tails: dict[str, list[str]] = {}

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def keep(self, events: list[Event]) -> None:
        self.events += events

    def next_id(self) -> str:
        self.items += 1
        return f"item-{self.items}"

    @rule(gap=GAPS)
    def wait(self, gap: float) -> None:
        self.seconds += gap

    # what the client says

    @precondition(lambda self: not self.ended)
    @rule(words=WORDS, blank=BLANKS, typed=st.booleans())
    def segment(self, words: list[str], blank: str, typed: bool) -> None:
        """A final piece of speech, or a typed message."""
        self.seconds += 1.5
        started_at = self.now - timedelta(seconds=1)
        said = Utterance(
            "", blank.join(["", " ".join(words), ""]), started_at, self.now, typed=typed
        )
        [event] = self.recorder.segment(self.now, said, CLIENT)
        self.keep([event])
        self.pieces.append(Piece(words, started_at, self.now, typed))
        assert isinstance(event, Segment)
        assert (event.source is Source.TEXT) == typed

    @rule(blank=BLANKS)
    def nothing(self, blank: str) -> None:
        """Empty speech of either is no event."""
        assert self.recorder.segment(self.now, Utterance("", blank), CLIENT) == []
        assert self.recorder.client_turn(self.now, Utterance("empty", blank)) == []

    @precondition(lambda self: self.pieces and not self.ended)
    @rule(first=st.integers(0, 2), size=st.integers(1, 3), tail=st.booleans(), timed=st.booleans())
    def item(self, first: int, size: int, tail: bool, timed: bool) -> None:
        """A turn of the client, of a run of pieces; the framework dropped those before it.

        What is typed and what is spoken at the same time are items of their own, in any order.
        """
        typed = self.pieces[first % len(self.pieces)].typed
        alike = [piece for piece in self.pieces if piece.typed == typed]
        first = min(first, len(alike) - 1)
        run = alike[first : first + size]
        words = [word for piece in run for word in piece.words]
        unfinished = ["unfinished", "tail"] if tail else []
        timed = timed or tail
        began, ended = (run[0].started_at, run[-1].ended_at) if timed else (None, None)
        text = " ".join(words + unfinished)
        self.last_item = Utterance(self.next_id(), text, began, ended, typed=typed)
        self.tails[self.last_item.item_id] = unfinished
        self.keep(self.recorder.client_turn(self.now, self.last_item))
        gone = alike[: first + size]
        self.pieces = [piece for piece in self.pieces if piece not in gone]

    @precondition(lambda self: not (self.pieces or self.ended))
    @rule(words=WORDS)
    def item_without_segments(self, words: list[str]) -> None:
        """A Realtime provider gives items alone; in words that none of those begins with that wait.

        Of two alike the recorder may have kept the other one for later than is told here.
        """
        words = ["alone", *words]
        self.last_item = Utterance(self.next_id(), " ".join(words), self.now, self.now)
        self.tails[self.last_item.item_id] = words
        self.keep(self.recorder.client_turn(self.now, self.last_item))

    @precondition(lambda self: self.last_item)
    @rule()
    def item_again(self) -> None:
        assert self.last_item is not None
        assert self.recorder.client_turn(self.now, self.last_item) == []

    # what the AI says

    @precondition(lambda self: not self.ended)
    @rule(more=st.booleans())
    def next_reply(self, more: bool) -> None:
        """The AI begins another reply, or its speech goes on; the last one is over."""
        before = self.replies[-1] if self.replies else None
        number = len(self.replies)
        again = before and more and before.item is not None
        speech_id = before.speech_id if before and again else f"speech-{number}"
        self.replies.append(Reply(number, speech_id))
        self.generate(more=1)

    @precondition(lambda self: self.speaking)
    @rule(more=st.integers(1, 3))
    def generate(self, more: int) -> None:
        reply = self.replies[-1]
        for _ in range(more):
            delta = f"{reply.mark}{len(reply.generated.split())} "
            self.keep(self.recorder.generated(self.now, reply.speech_id, delta))
            reply.generated += delta

    @precondition(lambda self: self.speaking)
    @rule(words=st.integers(0, 3), gap=GAPS)
    def hear(self, words: int, gap: float) -> None:
        """Some of what was generated has been played, and more is being made.

        What was heard is for the journal at once: the next word may never come.
        """
        self.seconds += gap
        self.generate(words)
        reply = self.replies[-1]
        rest = reply.generated.removeprefix(reply.heard).split()[:words]
        delta = "".join(f"{word} " for word in rest)
        self.keep(self.recorder.heard(self.now, reply.speech_id, delta))
        reply.heard += delta
        known = [e.text for e in self.events if isinstance(e, Progress)]
        assert not reply.heard or known[-1] == reply.heard.strip()

    @precondition(lambda self: self.speaking)
    @rule(cut=st.booleans())
    def ai_item(self, cut: bool) -> None:
        """The reply was played, or cut off: the framework says what of it was heard."""
        reply = self.replies[-1]
        text = reply.heard.strip() if cut else reply.generated.strip()
        if not text:
            return
        said = Utterance(self.next_id(), text, self.now, interrupted=cut)
        self.keep(self.recorder.ai_turn(self.now, said))
        reply.item = text
        assert self.recorder.ai_turn(self.now, said) == []

    @precondition(lambda self: self.speaking and self.over)
    @rule(data=st.data())
    def late_caption(self, data: st.DataObject) -> None:
        """A word of a speech that is over comes after the next one has begun."""
        speech_id = data.draw(st.sampled_from(self.over), label="speech")
        late = " late " if data.draw(st.booleans(), label="words") else ""
        assert self.recorder.heard(self.now, speech_id, late) == []
        assert self.recorder.generated(self.now, speech_id, late) == []

    @property
    def over(self) -> list[str]:
        """The speeches that the AI has ended."""
        current = self.replies[-1].speech_id if self.replies else None
        ids = dict.fromkeys(reply.speech_id for reply in self.replies)
        return [speech_id for speech_id in ids if speech_id != current]

    @property
    def speaking(self) -> bool:
        return bool(self.replies) and self.replies[-1].item is None and not self.ended

    # what else happens

    @precondition(lambda self: not self.ended)
    @rule()
    def marker(self) -> None:
        self.keep(self.recorder.marker(self.now, "takeover"))

    @precondition(lambda self: not self.ended)
    @rule(reason=st.sampled_from(EndReason))
    def end(self, reason: EndReason) -> None:
        events = self.recorder.end(self.now, reason)
        self.keep(events)
        self.ended = True
        assert isinstance(events[-1], Ended)
        assert events[-1].reason is reason
        assert events[-1].receipt.completeness is Completeness.COMPLETE

    @precondition(lambda self: self.ended)
    @rule(reason=st.sampled_from(EndReason))
    def come_late(self, reason: EndReason) -> None:
        """Nothing comes after the end, not even another."""
        late = Utterance("late", "too late")
        for events in (
            self.recorder.end(self.now, reason),
            self.recorder.segment(self.now, late, CLIENT),
            self.recorder.client_turn(self.now, late),
            self.recorder.ai_turn(self.now, late),
            self.recorder.generated(self.now, "late", "too late"),
            self.recorder.heard(self.now, "late", "too late"),
            self.recorder.marker(self.now, "late"),
        ):
            assert events == []

    @rule(share=st.floats(0, 1))
    def crash(self, share: float) -> None:
        """The job dies at any byte: what is whole is read, what is torn is not."""
        data = b"".join(map(encode, self.events))
        kept = data[: int(share * len(data))]
        events, torn = decoded(kept)
        assert events == self.events[: len(events)]
        assert kept.count(b"\n") == len(events)
        check(events, self, torn=torn)

    def teardown(self) -> None:
        if not self.ended:
            self.end(EndReason.CLIENT_LEFT)
        for size in range(len(self.events) + 1):
            check(self.events[:size], self)
        self.check_all_is_told()

    def check_all_is_told(self) -> None:
        """A session that ended by itself has told every reply that was heard."""
        told = [e.text for e in self.events if isinstance(e, Turn) and e.role is Role.AI]
        heard = [r.heard.strip() if r.item is None else r.item for r in self.replies]
        assert told == [text for text in heard if text]


def decoded(data: bytes) -> tuple[list[Event], int]:
    """Return the events of whole lines, and how many bytes of a torn one there are behind them."""
    *lines, torn = data.split(b"\n")
    return [EVENTS.validate_json(line[CHECKSUM:]) for line in lines], len(torn)


def check(events: list[Event], session: Session, *, torn: int = 0) -> None:
    """Hold what a recovery makes of `events` against what had been said by then."""
    sign = max([event.at for event in events], default=START)
    recovery = recovered_end(events, last_sign=sign, reason=EndReason.WORKER_LOST, torn=torn)
    whole = [*events, *recovery]
    check_end(whole, recovered=bool(recovery), torn=torn)
    check_again(events, recovery, sign, torn)
    check_order(whole)
    turns = [event for event in whole if isinstance(event, Turn)]
    check_client(events, turns, session.tails)
    check_ai(events, turns, session.replies)


def check_end(whole: list[Event], *, recovered: bool, torn: int) -> None:
    [end] = [event for event in whole if isinstance(event, Ended)]
    assert end is whole[-1]
    turns = [event for event in whole if isinstance(event, Turn)]
    assert end.receipt.turn_count == len(turns)
    assert end.receipt.transcript_sha256 == transcript_sha256(
        (t.seq, t.item_id, t.role, t.speaker_identity, t.text, t.interrupted) for t in turns
    )
    if recovered:
        expected = Completeness.PARTIAL if torn else Completeness.RECOVERED
        assert end.receipt.completeness is expected


def check_again(events: list[Event], recovery: list[Event], sign: datetime, torn: int) -> None:
    """A second recovery adds nothing; one over a part of the first adds just the rest."""
    for size in range(len(recovery) + 1):
        again = recovered_end(
            [*events, *recovery[:size]],
            last_sign=sign,
            reason=EndReason.WORKER_LOST,
            torn=torn,
        )
        assert again == recovery[size:]


def check_order(whole: list[Event]) -> None:
    numbered = [event for event in whole if isinstance(event, Turn | Marker)]
    assert all(one.seq < other.seq for one, other in pairwise(numbered))
    turns = [event for event in numbered if isinstance(event, Turn)]
    assert len({turn.item_id for turn in turns}) == len(turns)
    assert len({turn.turn_id for turn in turns}) == len(turns)
    for turn in turns:
        assert START <= turn.started_at <= turn.ended_at <= turn.at <= whole[-1].at
        assert turn.text.strip() == turn.text != ""


def check_client(events: list[Event], turns: list[Turn], tails: dict[str, list[str]]) -> None:
    """Each segment is in one turn, and nothing is in turns that neither segments nor tails had."""
    told = [turn for turn in turns if turn.role is Role.CLIENT]
    assert {turn.speaker_identity for turn in told} <= {CLIENT.identity}
    said: Counter[str] = Counter()
    for segment in (event for event in events if isinstance(event, Segment)):
        [turn] = [turn for turn in told if segment.segment_id in turn.segment_ids]
        assert f" {segment.text} " in f" {turn.text} "
        said.update(segment.text.split())
    for turn in told:
        said.update(tails.get(turn.item_id, []))
    assert Counter(word for turn in told for word in turn.text.split()) == said


def check_ai(events: list[Event], turns: list[Turn], replies: list[Reply]) -> None:
    """Of a reply one turn says what was heard, and what was meant where that is more."""
    spoken = [turn for turn in turns if turn.role is Role.AI]
    assert len(spoken) == sum(bool(told_of(reply, spoken)) for reply in replies)
    for reply in replies:
        known = [e for e in events if isinstance(e, Progress) and e.text.startswith(reply.mark)]
        told = told_of(reply, spoken)
        assert len(told) <= 1
        assert told or not known
        for turn in told:
            assert reply.generated.startswith(turn.text)
            assert len(turn.text) >= max((len(e.text) for e in known), default=0)
            final = reply.heard.strip() if reply.item is None else reply.item
            assert turn.text == (final if turn in events else known[-1].text)
            if turn.generated_text is not None:
                assert reply.generated.startswith(turn.generated_text)
                assert turn.generated_text != turn.text


def told_of(reply: Reply, spoken: list[Turn]) -> list[Turn]:
    return [turn for turn in spoken if turn.text.startswith(reply.mark)]


def converge(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Session,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_conversation_is_told_once_wherever_its_job_dies() -> None:
    converge(examples=250, steps=30)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_many_conversations_are_told_once_wherever_their_jobs_die() -> None:
    converge(examples=3000, steps=60)
