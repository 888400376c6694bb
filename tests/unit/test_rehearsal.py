"""What fails a rehearsal, and what does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from agent.local.rehearsal import comparison, report, verdict
from agent.local.rehearsal.deployment import stored_of
from agent.local.rehearsal.record import Line, Receipt, Record, Speaker, Stored, Turn, Utterance

BEGAN = datetime(2026, 11, 21, 9, tzinfo=UTC)
TALK = (
    ("ai", "Hello. What brings you here?"),
    ("client", "I want to sleep better."),
    ("ai", "What keeps you awake?"),
    ("client", "I think about work and then I read."),
    ("ai", "What would you like instead?"),
)


def turns_of(*talk: tuple[str, str]) -> list[Turn]:
    return [
        Turn(
            n + 1,
            role,
            text,
            BEGAN + timedelta(seconds=4 * n),
            BEGAN + timedelta(seconds=4 * n + 3),
        )
        for n, (role, text) in enumerate(talk)
    ]


def lines_of(*talk: tuple[str, str]) -> list[Line]:
    speech = [(cast("Speaker", role), text) for role, text in talk]
    return [Line(speaker, text, at=float(4 * n)) for n, (speaker, text) in enumerate(speech)]


def record_of(lines: list[Line], turns: list[Turn], **more: Any) -> Record:
    stored = Stored(
        session_id="01934d3a-8d5e-7c1a-9b1e-0f4a5c6d7e8f",
        status="completed",
        end_reason="client_left",
        started_at=BEGAN,
        ended_at=BEGAN + timedelta(seconds=30),
        turns=tuple(turns),
        receipt=Receipt(len(turns), "complete", None, kept=True),
    )
    spoken = [Utterance(text, 1.0) for role, text in TALK if role == "client"]
    record = Record("rehearsal-1", "client-r", 1.5, spoken, lines, 9.0, stored=stored)
    return replace(record, completed_seconds=0.5, **more)


def differences(lines: list[Line], turns: list[Turn]) -> list[tuple[str, str | None]]:
    return [
        (row.captioned or (row.turn.text if row.turn else ""), row.difference)
        for row in comparison.rows(lines, turns)
        if row.difference
    ]


def test_a_healthy_session_passes_without_a_remark() -> None:
    record = record_of(lines_of(*TALK), turns_of(*TALK))
    assert verdict.failures(record) == []
    assert verdict.remarks(record) == []


def test_only_whitespace_is_normalised() -> None:
    turns = turns_of(*TALK)
    assert differences(lines_of(("ai", " Hello.  What\nbrings you here? "), *TALK[1:]), turns) == []
    for other in ("Hello. What brings you here", "hello. What brings you here?"):
        assert len(differences(lines_of(("ai", other), *TALK[1:]), turns)) == 1


def test_a_changed_word_fails_at_its_turn_and_nowhere_else() -> None:
    turns = turns_of(*TALK)
    turns[3] = replace(turns[3], text="I think about work and then I eat.")
    found = verdict.failures(record_of(lines_of(*TALK), turns))
    assert found == ["turn 4, client: not what was captioned"]


def test_a_turn_of_quite_other_words_stands_beside_its_caption() -> None:
    turns = turns_of(*TALK)
    turns[1] = replace(turns[1], text="Nothing of the kind")
    assert differences(lines_of(*TALK), turns) == [(TALK[1][1], "not what was captioned")]


@pytest.mark.parametrize("lost", range(len(TALK)))
def test_a_lost_turn_fails_wherever_it_was(lost: int) -> None:
    turns = turns_of(*TALK)
    del turns[lost]
    assert differences(lines_of(*TALK), turns) == [
        (TALK[lost][1], "captioned, and not in Postgres")
    ]


@pytest.mark.parametrize("doubled", range(len(TALK)))
def test_a_doubled_turn_fails(doubled: int) -> None:
    turns = turns_of(*TALK)
    turns.insert(doubled, replace(turns[doubled], seq=9))
    found = differences(lines_of(*TALK), turns)
    assert found == [(TALK[doubled][1], "in Postgres, and never captioned")]


def test_words_that_nobody_said_fail() -> None:
    turns = turns_of(*TALK, ("client", "Something made up."))
    found = verdict.failures(record_of(lines_of(*TALK), turns))
    assert found == ["turn 6, client: in Postgres, and never captioned"]


def test_a_turn_of_the_wrong_speaker_fails() -> None:
    turns = turns_of(*TALK)
    turns[1] = replace(turns[1], role="ai")
    assert {difference for _, difference in differences(lines_of(*TALK), turns)} == {
        "captioned, and not in Postgres",
        "in Postgres, and never captioned",
    }


def test_turns_in_another_order_fail() -> None:
    """Exchanged within one speaker the words differ; between two, the order is said to."""
    turns = turns_of(*TALK)
    turns[1], turns[3] = (
        replace(turns[1], text=turns[3].text),
        replace(turns[3], text=turns[1].text),
    )
    assert differences(lines_of(*TALK), turns)
    swapped = turns_of(TALK[0], TALK[2], TALK[1], *TALK[3:])
    found = verdict.failures(record_of(lines_of(*TALK), swapped))
    assert found == ["turn 3, client: Postgres has it later than it was captioned"]


def test_overlapping_turns_may_be_captioned_in_either_order() -> None:
    turns = turns_of(TALK[0], TALK[2], TALK[1])
    turns[1] = replace(turns[1], ended_at=turns[2].ended_at)
    assert comparison.misplaced(comparison.rows(lines_of(*TALK[:3]), turns)) == []


def test_one_turn_may_be_several_captions() -> None:
    split = [
        *lines_of(*TALK[:3]),
        Line("client", "I think about work", at=12.0),
        Line("client", "and then I read.", at=13.0),
        Line("ai", TALK[4][1], at=16.0),
    ]
    assert differences(split, turns_of(*TALK)) == []
    assert len(comparison.rows(split, turns_of(*TALK))) == len(TALK)
    assert len(differences([*split[:4], split[5]], turns_of(*TALK))) == 1


def test_an_interrupted_turn_may_have_been_captioned_in_part() -> None:
    turns = turns_of(*TALK)
    lines = lines_of(*TALK[:2], ("ai", "What keeps"), *TALK[3:])
    assert differences(lines, turns) == [("What keeps", "not what was captioned")]
    turns[2] = replace(turns[2], interrupted=True)
    assert differences(lines, turns) == []
    other = lines_of(*TALK[:2], ("ai", "What stops"), *TALK[3:])
    assert differences(other, turns) == [("What stops", "not what was captioned")]
    without = [*lines[:2], *lines[3:]]
    assert differences(without, turns) == [(TALK[2][1], "in Postgres, and never captioned")]


def test_an_interrupted_turn_whose_rest_begins_as_the_next_one_is_not_confused() -> None:
    talk = (("ai", "You said a lot and I heard this"), ("client", "Yes"), ("ai", "I heard: yes"))
    turns = turns_of(*talk)
    turns[0] = replace(turns[0], interrupted=True)
    lines = lines_of(("ai", "You said a lot and"), *talk[1:])
    assert differences(lines, turns) == []


def test_a_caption_that_was_not_final_binds_only_as_far_as_it_goes() -> None:
    """The client left while it was being said: Postgres may know better, or have nothing."""
    open_line = Line("client", "I think about wood", final=False, at=12.0)
    lines = [*lines_of(*TALK[:3]), open_line]
    assert differences(lines, turns_of(*TALK[:4])) == []
    assert differences(lines, turns_of(*TALK[:3])) == []
    heard = Line("ai", "What keeps you", final=False, at=8.0)
    assert differences([*lines_of(*TALK[:2]), heard], turns_of(*TALK[:3])) == []
    assert differences([*lines_of(*TALK[:2]), heard], turns_of(*TALK[:2])) == [
        ("What keeps you", "captioned, and not in Postgres")
    ]


def test_a_session_without_sound_answer_or_end_fails() -> None:
    healthy = record_of(lines_of(*TALK), turns_of(*TALK))
    stored = healthy.stored
    assert stored is not None
    mute = [replace(utterance, latency=None) for utterance in healthy.utterances]
    cases = [
        (replace(healthy, sound_seconds=0.0), "no audio of the AI was heard"),
        (replace(healthy, utterances=mute), "no utterance was answered"),
        (replace(healthy, stored=None), "Postgres holds no session of this room"),
        (replace(healthy, troubles=["no agent came within 30 s"]), "no agent came within 30 s"),
        (replace(healthy, strangers=("client-x",)), "cross-talk: client-x spoke in this room"),
        (
            replace(healthy, stored=replace(stored, status="active")),
            "the session did not complete: it is active",
        ),
        (
            replace(healthy, stored=replace(stored, status="cancelled")),
            "the session did not complete: it is cancelled",
        ),
        (
            replace(healthy, stored=replace(stored, receipt=None)),
            "the session ended without a receipt",
        ),
        (
            replace(
                healthy, stored=replace(stored, receipt=Receipt(5, "complete", None, kept=False))
            ),
            "the turns in Postgres are not those that the receipt names",
        ),
    ]
    for record, said in cases:
        assert verdict.failures(record) == [said]


def test_a_conversation_that_broke_into_two_sessions_fails_for_that_and_not_for_its_words() -> None:
    """A lost agent's session holds the first words, its successor's the others."""
    whole = record_of(lines_of(*TALK), turns_of(*TALK))
    assert whole.stored is not None
    first, last = whole.stored.turns[:2], whole.stored.turns[2:]
    lost = replace(whole.stored, turns=first, status="cancelled", end_reason="worker_lost")
    broken = replace(whole, stored=replace(whole.stored, turns=last), earlier=(lost,))
    assert verdict.failures(broken) == [
        "the conversation broke: an earlier session of this room is cancelled (worker_lost)"
    ]


def test_what_is_only_odd_is_said_and_fails_nothing() -> None:
    healthy = record_of(lines_of(*TALK), turns_of(*TALK))
    stored = healthy.stored
    assert stored is not None
    odd = replace(
        healthy,
        greeting_seconds=None,
        utterances=[healthy.utterances[0], Utterance("Are you there?", None)],
        stored=replace(
            stored,
            end_reason="max_duration",
            receipt=Receipt(5, "partial", "transcript_pending", kept=True),
        ),
    )
    assert verdict.failures(odd) == []
    assert verdict.remarks(odd) == [
        'no answer to "Are you there?"',
        "the AI did not greet",
        "the session ended by itself: max_duration",
        "the receipt says partial: transcript_pending",
    ]


def test_the_word_error_rate_fails_nothing_and_ignores_case_and_punctuation() -> None:
    assert verdict.word_error_rate(["I said: hello."], ["i said hello"]) == 0
    assert verdict.word_error_rate(["one two three four"], ["one two tree"]) == 0.5
    assert verdict.word_error_rate(["one two"], []) == 1
    assert verdict.word_error_rate([], ["one"]) is None
    misheard = record_of(
        lines_of(TALK[0], ("client", "eye one two sheep")),
        turns_of(TALK[0], ("client", "eye one two sheep")),
    )
    rate = verdict.recognition(misheard)
    assert rate is not None
    assert rate > 0.5
    assert verdict.failures(misheard) == []


def test_words_heard_in_another_room_are_cross_talk_and_misheard_ones_are_not() -> None:
    first, second = ["I want to sleep better at night"], ["My work is full of meetings"]

    def session(room: str, spoken: list[str], heard: str) -> Record:
        said = [Utterance(text, 1.0) for text in spoken]
        return Record(room, utterances=said, lines=[Line("client", heard)])

    mixed = [session("a", first, second[0]), session("b", second, second[0])]
    assert verdict.cross_talk(mixed) == {0: "cross-talk: what was heard here was said in b"}
    rough = [session("a", first, "eye one two sleep bitter"), session("b", second, "")]
    assert verdict.cross_talk(rough) == {}
    noise = "eye one two three four five six seven meeting today"
    by_chance = ["we go on and then have a long meeting today"]
    either = [session("a", first, noise), session("b", by_chance, "")]
    own, other = (verdict.word_error_rate(said, [noise]) for said in (first, by_chance))
    assert own is not None
    assert other is not None
    assert own - other > verdict.MUCH_CLOSER
    assert verdict.cross_talk(either) == {}
    near = [session("a", ["My work is full of people"], second[0]), session("b", second, "")]
    assert verdict.cross_talk(near) == {}
    assert report.judged(mixed)[0].failures[-1].startswith("cross-talk")


def test_median_and_p95_are_those_of_the_answers() -> None:
    assert verdict.middle([3.0, 1.0, 2.0]) == 2.0
    assert verdict.p95([float(n) for n in range(1, 101)]) == 95.0
    assert verdict.p95([1.0, 2.0]) == 2.0
    assert (verdict.middle([]), verdict.p95([])) == (None, None)


def test_the_object_for_programs_has_every_figure() -> None:
    told = report.as_object(
        "http://coach", report.judged([record_of(lines_of(*TALK), turns_of(*TALK))])
    )
    (session,) = told["sessions"]
    assert told["ok"] is session["ok"] is True
    assert told["latency"] == {"each": [1.0, 1.0], "median": 1.0, "p95": 1.0}
    assert [row["stored"] for row in session["transcript"]] == [text for _, text in TALK]
    assert session["end"] == {
        "status": "completed",
        "reason": "client_left",
        "durationSeconds": 30.0,
        "completedAfter": 0.5,
    }
    assert session["receipt"] == {
        "completeness": "complete",
        "reason": None,
        "turnCount": 5,
        "kept": True,
    }


def test_a_transcript_of_the_api_is_read_whole() -> None:
    message = {
        "seq": 2,
        "speakerRole": "ai",
        "content": "What would a good week",
        "timestamp": "2026-11-21T09:00:04.120Z",
        "endTime": "2026-11-21T09:00:05.480Z",
        "interrupted": True,
    }
    transcript = {
        "sessionId": "s",
        "status": "completed",
        "endReason": "client_left",
        "startTime": "2026-11-21T09:00:00.000Z",
        "endTime": "2026-11-21T09:00:30.500Z",
        "completeness": "complete",
        "receipt": {"turnCount": 1, "transcriptSha256": "…", "kept": True},
        "messages": [message],
    }
    stored = stored_of(transcript)
    assert stored.duration_seconds == 30.5
    assert stored.receipt == Receipt(1, "complete", None, kept=True)
    (turn,) = stored.turns
    assert (turn.seq, turn.role, turn.text, turn.interrupted) == (2, "ai", message["content"], True)
    assert (turn.ended_at - turn.started_at).total_seconds() == pytest.approx(1.36)
    del transcript["endTime"], transcript["receipt"]
    assert stored_of(transcript | {"status": "active"}).duration_seconds is None
