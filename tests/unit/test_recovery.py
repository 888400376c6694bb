"""What an unfinished journal becomes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.events import (
    Completeness,
    Ended,
    EndReason,
    Event,
    Marker,
    Progress,
    Role,
    Segment,
    Source,
    Started,
    Turn,
    transcript_sha256,
)
from persistence.recovery import promoted_turns, receipt_of, recovered_end

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
LAST = T0 + timedelta(minutes=10)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def started() -> Started:
    return Started(at=T0, room_name="room", pipeline="stt-llm-tts", prompt_version="1")


def turn(seq: int, start: float = 0.0, **more: object) -> Turn:
    return Turn(
        **{
            "at": at(start + 1),
            "turn_id": uuid4(),
            "seq": seq,
            "item_id": f"item-{seq}",
            "role": Role.CLIENT,
            "speaker_identity": "client-1",
            "text": f"turn {seq}",
            "started_at": at(start),
            "ended_at": at(start + 1),
            **more,
        }
    )


def segment(start: float, text: str = "I slept badly", **more: object) -> Segment:
    return Segment(
        **{
            "at": at(start + 1),
            "segment_id": uuid4(),
            "role": Role.CLIENT,
            "speaker_identity": "client-1",
            "speaker_user": "1",
            "text": text,
            "confidence": 0.9,
            "language": "en",
            "started_at": at(start),
            "ended_at": at(start + 1),
            **more,
        }
    )


def progress(start: float, heard: str, reply: str = "reply-1", **more: Any) -> Progress:
    return Progress(at=at(start + 2), reply_id=reply, text=heard, started_at=at(start), **more)


def recovered(records: Sequence[Event], **more: Any) -> tuple[list[Turn], Ended]:
    given = {"last_sign": LAST, "reason": EndReason.WORKER_LOST, **more}
    *made, end = recovered_end(records, **given)
    turns = [one for one in made if isinstance(one, Turn)]
    assert isinstance(end, Ended)
    assert turns == made
    return turns, end


def test_speech_that_no_turn_absorbed_becomes_a_turn_of_its_speaker() -> None:
    loose = segment(5, role=Role.COACH, speaker_identity="coach-7")
    [made], _ = recovered([started(), turn(1), loose])
    assert made.item_id == f"segment:{loose.segment_id}"
    for field in ("role", "speaker_identity", "speaker_user", "text", "confidence", "language"):
        assert getattr(made, field) == getattr(loose, field)
    assert (made.started_at, made.ended_at) == (loose.started_at, loose.ended_at)
    assert (made.seq, made.at, made.interrupted) == (2, LAST, False)
    assert made.segment_ids == (loose.segment_id,)


def test_what_was_typed_stays_typed_and_the_first_turn_of_all_is_number_one() -> None:
    first, second = segment(1, source=Source.TEXT), segment(2)
    turns, _ = recovered([started(), first, second])
    assert [(made.seq, made.source) for made in turns] == [(1, Source.TEXT), (2, Source.VOICE)]


def test_each_piece_of_speech_is_a_turn_with_an_id_of_its_own_and_always_the_same() -> None:
    records: list[Event] = [segment(1), segment(2), progress(3, "So"), progress(4, "Well", "other")]
    (turns, _), (again, _) = recovered(records), recovered(records)
    ids = [made.turn_id for made in turns]
    assert len(set(ids)) == len(records)
    assert [made.turn_id for made in again] == ids


def test_a_turn_that_was_promoted_before_is_not_promoted_again() -> None:
    """Whatever it says that it was made of."""
    loose = segment(1)
    assert recovered([loose, turn(1, item_id=f"segment:{loose.segment_id}")])[0] == []


def test_a_reply_that_was_heard_before_it_began_took_no_negative_time() -> None:
    """Its times may be of two clocks: when it began is the framework's word."""
    late = progress(1, "So").model_copy(update={"started_at": at(9)})
    [made], _ = recovered([late])
    assert (made.started_at, made.ended_at) == (at(9), at(9))


def test_absorbed_speech_is_not_said_twice() -> None:
    first, second = segment(1), segment(2)
    absorbing = turn(1, segment_ids=(first.segment_id, second.segment_id))
    spoken = turn(2, role=Role.AI, reply_id="reply-1")
    turns, end = recovered([first, second, absorbing, progress(3, "So"), spoken])
    assert turns == []
    assert end.receipt.turn_count == 2


def test_the_last_progress_of_a_reply_becomes_an_interrupted_turn() -> None:
    records = [progress(1, "Take"), progress(1, "Take a", generated_text="Take a breath.")]
    [made], _ = recovered(records)
    assert (made.item_id, made.role, made.text) == ("progress:reply-1", Role.AI, "Take a")
    assert (made.interrupted, made.generated_text) == (True, "Take a breath.")
    assert (made.started_at, made.ended_at) == (at(1), at(3))
    assert made.reply_id == "reply-1"


def test_generated_text_is_kept_only_where_it_differs_from_what_was_heard() -> None:
    [made], _ = recovered([progress(1, "Breathe.", generated_text="Breathe.")])
    assert made.generated_text is None


def test_promoted_turns_stand_in_spoken_order_after_the_highest_number() -> None:
    marker = Marker(at=T0, marker_id=uuid4(), seq=7, type="takeover")
    late, early = segment(9, "later"), segment(2, "earlier")
    turns, _ = recovered([turn(3), marker, late, early, progress(5, "between")])
    assert [(made.seq, made.text) for made in turns] == [
        (8, "earlier"),
        (9, "between"),
        (10, "later"),
    ]


@pytest.mark.parametrize("blank", ["", "  \n"])
def test_speech_without_words_is_no_turn(blank: str) -> None:
    turns, end = recovered([segment(1, blank), progress(2, blank, generated_text="Never heard")])
    assert turns == []
    assert end.receipt.turn_count == 0


def test_the_end_is_at_the_last_sign_of_life_with_a_receipt_over_all_turns() -> None:
    said, loose = turn(1), segment(4)
    [made], end = recovered([started(), said, loose])
    assert (end.at, end.reason) == (LAST, EndReason.WORKER_LOST)
    assert end.receipt.completeness is Completeness.RECOVERED
    assert end.receipt.reason is None
    assert end.receipt.turn_count == 2
    assert end.receipt.transcript_sha256 == transcript_sha256(
        (t.seq, t.item_id, t.role, t.speaker_identity, t.text, t.interrupted) for t in (said, made)
    )


def test_a_torn_journal_is_partial_and_says_how_much_is_missing() -> None:
    _, end = recovered([turn(1)], torn=17)
    assert end.receipt.completeness is Completeness.PARTIAL
    assert "17 bytes" in (end.receipt.reason or "")


def test_a_job_that_died_with_a_full_disk_leaves_a_partial_transcript() -> None:
    _, end = recovered([turn(1)], trouble="disk_full")
    assert (end.receipt.completeness, end.receipt.reason) == (Completeness.PARTIAL, "disk_full")


def test_of_a_disk_that_was_full_and_tore_a_line_both_are_told() -> None:
    """One byte is enough to be one word too few."""
    _, end = recovered([turn(1)], trouble="disk_full", torn=1)
    assert end.receipt.reason == "disk_full; 1 bytes of the journal are unreadable"


def test_a_job_that_died_at_birth_ends_without_turns() -> None:
    turns, end = recovered([])
    assert turns == []
    assert end.receipt.turn_count == 0


def test_an_ended_session_is_left_alone() -> None:
    _, end = recovered([turn(1)])
    assert recovered_end([turn(1), segment(3), end], last_sign=LAST, reason=EndReason.ERROR) == []


def test_a_reply_id_that_another_session_used_too_gives_another_turn() -> None:
    [one], _ = recovered([progress(1, "Hello")])
    [other], _ = recovered([progress(2, "Hello")])
    assert one.turn_id != other.turn_id


def test_a_session_that_ended_by_itself_is_complete() -> None:
    receipt = receipt_of([turn(1), turn(2)], trouble=None, recovered=False)
    assert (receipt.completeness, receipt.turn_count) == (Completeness.COMPLETE, 2)


def test_a_degraded_journal_shows_in_the_receipt() -> None:
    receipt = receipt_of([turn(1)], trouble="size_limit", recovered=False)
    assert (receipt.completeness, receipt.reason) == (Completeness.PARTIAL, "size_limit")


def test_a_turn_recorded_twice_counts_once() -> None:
    said = turn(1)
    once = receipt_of([said], trouble=None, recovered=False)
    assert receipt_of([said, said], trouble=None, recovered=False) == once
    other = said.model_copy(update={"text": "other words"})
    assert receipt_of([said, other], trouble=None, recovered=False) == once, "as Postgres keeps it"


_IDS = [UUID(int=n) for n in range(4)]
_SECONDS = st.integers(0, 60)


@st.composite
def _events(draw: st.DrawFn) -> list[Event]:
    """A session as a job may have left it: loose and absorbed speech, in any order."""
    events: list[Event] = [started()]
    for seq in range(1, draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["segment", "progress", "turn", "marker"]))
        start, text = draw(_SECONDS), draw(st.text(st.characters(exclude_categories=["Cs"])))
        if kind == "segment":
            events.append(segment(start, text, segment_id=draw(st.sampled_from(_IDS))))
        elif kind == "progress":
            events.append(progress(start, text, draw(st.sampled_from("ab"))))
        elif kind == "turn":
            absorbed = draw(st.lists(st.sampled_from(_IDS), max_size=2))
            reply = draw(st.sampled_from([None, "a", "b"]))
            events.append(turn(seq, start, segment_ids=tuple(absorbed), reply_id=reply))
        else:
            events.append(Marker(at=at(start), marker_id=uuid4(), seq=seq, type="mode"))
    return events


@given(events=_events(), cut=st.integers(0, 10))
def test_a_recovery_over_half_a_recovery_comes_to_the_same_rows(
    events: list[Event], cut: int
) -> None:
    whole = recovered_end(events, last_sign=LAST, reason=EndReason.ERROR)
    first = whole[: min(cut, len(whole) - 1)]
    second = recovered_end([*events, *first], last_sign=LAST, reason=EndReason.ERROR)
    assert [*first, *second] == whole


@given(events=_events())
def test_after_recovery_every_word_is_in_exactly_one_turn(events: list[Event]) -> None:
    turns = [event for event in events if isinstance(event, Turn)]
    turns += promoted_turns(events, at=LAST)
    said = {event.segment_id: event for event in events if isinstance(event, Segment)}
    absorbed = {one for turn in events if isinstance(turn, Turn) for one in turn.segment_ids}
    for segment_id in said.keys() - absorbed:
        texts = [one.text for one in turns if segment_id in one.segment_ids]
        assert texts == [text for text in [said[segment_id].text] if text.strip()]
    seqs = [one.seq for one in turns] + [e.seq for e in events if isinstance(e, Marker)]
    assert len(seqs) == len(set(seqs))
