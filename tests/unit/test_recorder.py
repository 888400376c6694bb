"""What a conversation becomes in the journal: nothing said is lost, doubled or made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.worker.people import Person
from agent.worker.recorder import Recorder, Utterance
from persistence.events import (
    Completeness,
    Ended,
    EndReason,
    Event,
    Progress,
    Role,
    Segment,
    Source,
    Turn,
    transcript_sha256,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
CLIENT = Person(Role.CLIENT, "client-7", "7")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def said(text: str, item_id: str = "", **more: Any) -> Utterance:
    return Utterance(item_id=item_id, text=text, **more)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(CLIENT, "en")


def turns(events: list[Event]) -> list[Turn]:
    return [event for event in events if isinstance(event, Turn)]


def ended(events: list[Event]) -> Ended:
    (end,) = [event for event in events if isinstance(event, Ended)]
    return end


def test_a_turn_names_the_segments_it_absorbs_and_nothing_is_left_for_the_end(
    recorder: Recorder,
) -> None:
    first = recorder.segment(at(1), said("I feel"), CLIENT)
    second = recorder.segment(at(2), said("rather tired."), CLIENT)
    (turn,) = turns(recorder.client_turn(at(3), said("I feel rather tired.", "a")))
    segments = [e for e in first + second if isinstance(e, Segment)]
    assert turn.segment_ids == tuple(s.segment_id for s in segments)
    assert turns(recorder.end(at(4), EndReason.CLIENT_LEFT)) == []


def test_a_segment_that_the_framework_dropped_is_a_turn_before_the_next_turn(
    recorder: Recorder,
) -> None:
    recorder.segment(at(1), said("Wait a moment.", started_at=at(0.5), ended_at=at(1)), CLIENT)
    recorder.segment(at(5), said("I am done."), CLIENT)
    dropped, turn = turns(recorder.client_turn(at(6), said("I am done.", "b")))
    assert (dropped.text, turn.text) == ("Wait a moment.", "I am done.")
    assert dropped.item_id.startswith("segment:")
    assert dropped.started_at == at(0.5)
    assert (dropped.seq, turn.seq) == (1, 2)


def test_a_dropped_segment_with_the_words_of_the_next_turn_is_not_mistaken_for_it(
    recorder: Recorder,
) -> None:
    recorder.segment(at(1), said("Yes"), CLIENT)
    recorder.segment(at(2), said("Yes I do"), CLIENT)
    texts = [t.text for t in turns(recorder.client_turn(at(3), said("Yes I do", "c")))]
    texts += [t.text for t in turns(recorder.end(at(4), EndReason.CLIENT_LEFT))]
    assert texts == ["Yes", "Yes I do"]


def test_a_segment_that_comes_after_a_turn_was_cut_waits_for_its_own_turn(
    recorder: Recorder,
) -> None:
    recorder.segment(at(1), said("One."), CLIENT)
    recorder.segment(at(2), said("Two."), CLIENT)
    assert [t.text for t in turns(recorder.client_turn(at(3), said("One.", "a")))] == ["One."]
    assert [t.text for t in turns(recorder.client_turn(at(4), said("Two.", "b")))] == ["Two."]


def test_of_two_segments_with_the_same_words_each_is_in_its_own_turn(recorder: Recorder) -> None:
    """The second came before the first was a turn."""
    recorder.segment(at(1), said("Yes."), CLIENT)
    recorder.segment(at(2), said("Yes."), CLIENT)
    assert [t.text for t in turns(recorder.client_turn(at(3), said("Yes.", "a")))] == ["Yes."]
    assert [t.text for t in turns(recorder.client_turn(at(4), said("Yes.", "b")))] == ["Yes."]
    assert turns(recorder.end(at(5), EndReason.CLIENT_LEFT)) == []


def test_of_two_segments_with_the_same_words_a_turn_is_the_one_that_began_when_it_did(
    recorder: Recorder,
) -> None:
    for second in (1, 9):
        recorder.segment(at(second), said("Yes.", started_at=at(second)), CLIENT)
    late = said("Yes.", "a", started_at=at(8.8), ended_at=at(9.5))
    dropped, turn = turns(recorder.client_turn(at(10), late))
    assert (dropped.started_at, turn.started_at) == (at(1), at(8.8))


def test_a_turn_does_not_begin_with_speech_whose_words_were_lost(recorder: Recorder) -> None:
    """The framework counts from the lost words' start; what was said meanwhile came before it."""
    recorder.segment(at(9), said("And now?", started_at=at(8), ended_at=at(9)), CLIENT)
    [turn] = turns(recorder.client_turn(at(9.5), said("And now?", "a", started_at=at(2))))
    assert turn.started_at == at(8)
    recorder.segment(at(14), said("Well, yes.", started_at=at(13), ended_at=at(14)), CLIENT)
    [slow] = turns(recorder.client_turn(at(14.5), said("Well, yes.", "b", started_at=at(11))))
    assert slow.started_at == at(11)


def test_words_of_a_recogniser_without_times_do_not_put_a_beginning_behind_its_end(
    recorder: Recorder,
) -> None:
    recorder.segment(at(9.2), said("I was there.", started_at=at(9.2), ended_at=at(9.2)), CLIENT)
    whole = said("I was there.", "a", started_at=at(4), ended_at=at(8))
    [turn] = turns(recorder.client_turn(at(9.5), whole))
    assert (turn.started_at, turn.ended_at) == (at(4), at(8))


def test_a_turn_that_begins_with_the_words_of_an_old_one_does_not_swallow_it(
    recorder: Recorder,
) -> None:
    recorder.segment(at(1), said("Okay", started_at=at(0), ended_at=at(1)), CLIENT)
    cut = said("Okay then it was", "a", started_at=at(198), ended_at=at(200))
    old, turn = turns(recorder.client_turn(at(200), cut))
    assert (old.text, turn.text, turn.segment_ids) == ("Okay", "Okay then it was", ())


def test_a_turn_with_an_interim_tail_absorbs_the_final_part_of_it(recorder: Recorder) -> None:
    recorder.segment(at(1), said("I was going to"), CLIENT)
    (turn,) = turns(recorder.client_turn(at(2), said("I was going to say", "a")))
    assert len(turn.segment_ids) == 1
    assert turns(recorder.end(at(3), EndReason.CLIENT_LEFT)) == []


def test_an_item_that_comes_twice_is_one_turn(recorder: Recorder) -> None:
    assert len(turns(recorder.client_turn(at(1), said("Hello.", "same")))) == 1
    assert recorder.client_turn(at(2), said("Hello.", "same")) == []


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_empty_text_is_not_a_turn(recorder: Recorder, text: str) -> None:
    assert recorder.segment(at(1), said(text), CLIENT) == []
    assert recorder.client_turn(at(1), said(text, "a")) == []
    assert recorder.ai_turn(at(1), said(text, "b")) == []


def test_what_no_database_can_store_is_replaced_and_the_rest_kept(recorder: Recorder) -> None:
    (turn,) = turns(recorder.client_turn(at(1), said("a\0b\ud800c", "a")))
    assert turn.text == "a\ufffdb\ufffdc"


@pytest.mark.parametrize("confidence", [float("nan"), -0.1, 1.5, float("inf"), None])
def test_a_confidence_that_is_none_is_none(recorder: Recorder, confidence: float | None) -> None:
    (turn,) = turns(recorder.client_turn(at(1), said("Hi.", "a", confidence=confidence)))
    assert turn.confidence is None


def test_metrics_hold_what_json_can_hold(recorder: Recorder) -> None:
    metrics = {"e2e_latency": 0.5, "bad": float("nan"), "llm_metadata": {"model": object()}}
    (turn,) = turns(recorder.ai_turn(at(1), said("Hi.", "a", metrics=metrics)))
    assert turn.metrics["e2e_latency"] == 0.5
    assert turn.metrics["bad"] is None
    assert isinstance(turn.metrics["llm_metadata"]["model"], str)


def test_an_interrupted_reply_says_what_was_heard_and_what_was_meant(recorder: Recorder) -> None:
    recorder.generated(at(1), "speech_1", "How did that ")
    recorder.generated(at(1), "speech_1", "make you feel?")
    recorder.heard(at(2), "speech_1", "How did")
    (turn,) = turns(recorder.ai_turn(at(3), said("How did", "x", interrupted=True)))
    assert (turn.text, turn.generated_text) == ("How did", "How did that make you feel?")
    assert turn.interrupted
    assert turn.reply_id == "speech_1"


def test_a_reply_heard_in_full_has_no_other_text(recorder: Recorder) -> None:
    recorder.generated(at(1), "speech_1", "Welcome back. ")
    (turn,) = turns(recorder.ai_turn(at(3), said("Welcome back.", "x")))
    assert turn.generated_text is None


def test_what_was_heard_of_a_reply_without_an_item_is_an_interrupted_turn(
    recorder: Recorder,
) -> None:
    recorder.generated(at(1), "speech_1", "One moment please.")
    recorder.heard(at(2), "speech_1", "One moment")
    (turn,) = turns(recorder.generated(at(5), "speech_2", "So."))
    assert (turn.role, turn.text, turn.interrupted) == (Role.AI, "One moment", True)
    assert turn.generated_text == "One moment please."
    assert turn.started_at == at(2)


def test_a_reply_that_nobody_heard_is_no_turn(recorder: Recorder) -> None:
    recorder.generated(at(1), "speech_1", "Never spoken.")
    assert recorder.ai_turn(at(2), said("", "x")) == []
    assert ended(recorder.end(at(3), EndReason.CLIENT_LEFT)).receipt.turn_count == 0


def test_a_caption_that_trails_its_turn_does_not_make_another(recorder: Recorder) -> None:
    recorder.heard(at(1), "speech_1", "Good.")
    recorder.ai_turn(at(2), said("Good.", "x"))
    assert recorder.heard(at(2.1), "speech_1", " Good.") == []
    assert turns(recorder.end(at(3), EndReason.CLIENT_LEFT)) == []


def test_a_late_word_of_one_reply_is_not_put_into_the_next(recorder: Recorder) -> None:
    recorder.heard(at(1), "speech_1", "Good.")
    recorder.ai_turn(at(2), said("Good.", "x"))
    recorder.heard(at(3), "speech_2", "And you?")
    recorder.heard(at(3.1), "speech_1", " Good.")
    recorder.generated(at(3.1), "speech_1", " Good.")
    (turn,) = turns(recorder.end(at(4), EndReason.CLIENT_LEFT))
    assert (turn.text, turn.generated_text) == ("And you?", None)


def test_each_word_is_journaled_as_it_is_heard_however_soon_it_comes_after_another(
    recorder: Recorder,
) -> None:
    """After it there may be a pause of seconds, and a crash in that."""
    events = [
        *recorder.heard(at(0.00), "s", "a"),
        *recorder.heard(at(0.01), "s", " b"),
        *recorder.heard(at(0.01), "s", " "),
        *recorder.heard(at(3.00), "s", "c"),
    ]
    assert [e.text for e in events if isinstance(e, Progress)] == ["a", "a b", "a b c"]


def test_a_typed_message_is_a_turn_by_text(recorder: Recorder) -> None:
    recorder.segment(at(1), said("typed words", typed=True), CLIENT)
    (turn,) = turns(recorder.end(at(2), EndReason.CLIENT_LEFT))
    assert turn.source is Source.TEXT


@pytest.mark.parametrize("item_comes_late", [False, True])
def test_what_is_typed_while_somebody_speaks_is_told_once_and_so_is_what_was_spoken(
    recorder: Recorder, item_comes_late: bool
) -> None:
    """Either may become a turn first; neither is taken for what the framework dropped."""
    typed = said("typed words", "typed", typed=True)
    spoken = said("one two three", "spoken")
    recorder.segment(at(1), said("one two"), CLIENT)
    recorder.segment(at(2), said("typed words", typed=True), CLIENT)
    told = [] if item_comes_late else turns(recorder.client_turn(at(2.5), typed))
    recorder.segment(at(3), said("three"), CLIENT)
    told += turns(recorder.client_turn(at(4), spoken))
    told += turns(recorder.client_turn(at(5), typed)) if item_comes_late else []
    told += turns(recorder.end(at(6), EndReason.CLIENT_LEFT))
    assert sorted((t.text, t.source, len(t.segment_ids)) for t in told) == [
        ("one two three", Source.VOICE, 2),
        ("typed words", Source.TEXT, 1),
    ]


def test_the_receipt_counts_and_hashes_every_turn(recorder: Recorder) -> None:
    events = recorder.client_turn(at(1), said("Hello.", "a"))
    events += recorder.ai_turn(at(2), said("Hi.", "b"))
    recorder.segment(at(3), said("Bye."), CLIENT)
    events += recorder.end(at(4), EndReason.CLIENT_LEFT)
    receipt = ended(events).receipt
    assert receipt.turn_count == 3
    assert receipt.completeness is Completeness.COMPLETE
    assert receipt.transcript_sha256 == transcript_sha256(
        (t.seq, t.item_id, t.role, t.speaker_identity, t.text, t.interrupted) for t in turns(events)
    )


def test_a_session_ends_once_and_nothing_comes_after_it(recorder: Recorder) -> None:
    assert recorder.end(at(1), EndReason.CLIENT_LEFT)
    assert recorder.end(at(2), EndReason.ERROR) == []
    assert recorder.segment(at(3), said("late"), CLIENT) == []
    assert recorder.client_turn(at(3), said("late", "z")) == []
    assert recorder.heard(at(3), "s", "late") == []
    assert recorder.marker(at(3), "late") == []


def test_what_could_not_be_recorded_makes_the_receipt_partial(recorder: Recorder) -> None:
    recorder.miss("transcription_failed")
    receipt = ended(recorder.end(at(1), EndReason.CLIENT_LEFT, trouble="disk_full")).receipt
    assert receipt.completeness is Completeness.PARTIAL
    assert receipt.reason == "disk_full,transcription_failed"


class Unspeakable:
    """What a provider may leave beside the words, and nobody can write down."""

    def __str__(self) -> str:
        raise RuntimeError


def test_words_of_which_no_turn_can_be_made_are_turns_at_the_end_all_the_same(
    recorder: Recorder,
) -> None:
    recorder.segment(at(1), said("I was cut off."), CLIENT)
    recorder.segment(at(2), said("I slept badly."), CLIENT)
    recorder.heard(at(3), "s", "Tell me")
    odd = {"metrics": {"odd": Unspeakable()}}
    with pytest.raises(RuntimeError):
        recorder.client_turn(at(4), said("I slept badly.", "a", **odd))
    with pytest.raises(RuntimeError):
        recorder.ai_turn(at(4), said("Tell me more.", "b", **odd))
    told = turns(recorder.end(at(5), EndReason.CLIENT_LEFT))
    assert [turn.text for turn in told] == ["I was cut off.", "I slept badly.", "Tell me"]
    assert [turn.seq for turn in told] == [1, 2, 3], "no number is missing"


@given(
    words=st.lists(st.sampled_from(["yes", "no", "well", "so it is"]), max_size=12),
    cuts=st.lists(st.integers(1, 3), max_size=12),
    dropped=st.sets(st.integers(0, 11)),
)
def test_every_word_is_in_exactly_one_turn_whatever_the_framework_drops(
    words: list[str], cuts: list[int], dropped: set[int]
) -> None:
    """Segments are grouped into items; some items never come. Each word is then told once."""
    recorder = Recorder(CLIENT, "en")
    told: list[Turn] = []
    rest, number = list(words), 0
    while rest:
        size = cuts[number % len(cuts)] if cuts else 1
        group, rest = rest[:size], rest[size:]
        for text in group:
            recorder.segment(at(number), said(text), CLIENT)
        if number not in dropped:
            told += turns(recorder.client_turn(at(number), said(" ".join(group), f"i{number}")))
        number += 1
    told += turns(recorder.end(at(99), EndReason.CLIENT_LEFT))
    assert sorted(" ".join(t.text for t in told).split()) == sorted(" ".join(words).split())
    assert [t.seq for t in told] == list(range(1, len(told) + 1))


def test_a_second_item_of_one_speech_is_recorded_as_the_first_was(recorder: Recorder) -> None:
    """Steps around a tool: the framework's id of the speech is the same for each of them."""
    recorder.generated(at(1), "s", "Let me look.")
    recorder.heard(at(2), "s", "Let me look.")
    (first,) = turns(recorder.ai_turn(at(3), said("Let me look.", "a")))
    recorder.generated(at(4), "s", "You said that you slept well, and more.")
    (progress,) = recorder.heard(at(5), "s", "You said")
    assert isinstance(progress, Progress)
    assert (first.reply_id, progress.reply_id) == ("s", "s#2")
    recorder.heard(at(6), "s", " that you slept well")
    second = said("You said that you slept well", "b", interrupted=True)
    (turn,) = turns(recorder.ai_turn(at(7), second))
    assert turn.generated_text == "You said that you slept well, and more."
    assert (turn.reply_id, turn.started_at) == ("s#2", at(5))


def test_what_was_heard_of_a_second_item_that_never_came_is_a_turn(recorder: Recorder) -> None:
    recorder.generated(at(1), "s", "Let me look.")
    recorder.ai_turn(at(2), said("Let me look.", "a"))
    recorder.generated(at(3), "s", "You slept well.")
    recorder.heard(at(4), "s", "You slept")
    (turn,) = turns(recorder.end(at(5), EndReason.ERROR))
    assert (turn.text, turn.item_id, turn.interrupted) == ("You slept", "progress:s#2", True)


def test_messages_of_one_response_that_become_items_together_keep_their_own_words(
    recorder: Recorder,
) -> None:
    """After the first of them a crash must find what was heard of the second."""
    recorder.generated(at(1), "s", "Good. ")
    recorder.generated(at(1), "s", "And then?")
    recorder.heard(at(2), "s", "Good. And then?")
    turn, progress = recorder.ai_turn(at(3), said("Good.", "a", ended_at=at(2)))
    assert isinstance(turn, Turn)
    assert isinstance(progress, Progress)
    assert turn.generated_text is None
    assert (progress.text, progress.started_at) == ("And then?", at(2))
    (second,) = turns(recorder.ai_turn(at(3), said("And then?", "b")))
    assert (second.generated_text, second.reply_id) == (None, progress.reply_id)
    assert turns(recorder.end(at(4), EndReason.CLIENT_LEFT)) == []


def test_an_item_without_words_takes_nothing_from_what_was_heard(recorder: Recorder) -> None:
    recorder.generated(at(1), "s", "Good.")
    recorder.heard(at(2), "s", "Good.")
    recorder.ai_turn(at(3), said("", "a"))
    (turn,) = turns(recorder.end(at(4), EndReason.CLIENT_LEFT))
    assert turn.text == "Good."
