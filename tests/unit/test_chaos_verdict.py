"""The judgement on faults: each thing that can be wrong with a transcript or an end is found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.local.chaos.endings import Ending, StoredEnd, judge_ends
from agent.local.chaos.verdict import (
    Kind,
    Spoken,
    Stored,
    counts,
    due,
    heard_until,
    judge,
)
from persistence.events import Role

CLIENT, AI, COACH = Role.CLIENT, Role.AI, Role.COACH

HELLO = Spoken("a", CLIENT, "I want to talk about number one.", 1.0, "client-1")
MORE = Spoken("a", CLIENT, "My work is full of number two.", 2.0, "client-1")
REPLY = Spoken("a", AI, "Answer one, what matters to you in it?", 5.0)
LAST = Spoken("a", CLIENT, "I feel better about number three.", 9.0, "client-1")
SAID = [HELLO, MORE, REPLY, LAST]


def kept(piece: Spoken, **changed: Any) -> Stored:
    return replace(Stored(piece.session, piece.role, piece.text, piece.speaker), **changed)


TRANSCRIPT = [kept(HELLO, text=f"{HELLO.text} {MORE.text}"), kept(REPLY), kept(LAST)]


def kinds(spoken: list[Spoken], stored: list[Stored], slack: float = 0.0) -> list[Kind]:
    return [finding.kind for finding in judge(spoken, stored, slack=slack)]


def test_a_transcript_that_holds_all_that_was_said_passes() -> None:
    """A turn may be several pieces; whitespace is nobody's word."""
    assert judge(SAID, TRANSCRIPT) == []
    assert judge(SAID, [replace(turn, text=f" {turn.text}\n") for turn in TRANSCRIPT]) == []


def test_pieces_may_be_turns_of_their_own() -> None:
    assert judge(SAID, [kept(piece) for piece in SAID]) == []


def test_what_is_not_there_is_lost() -> None:
    [finding] = judge(SAID, TRANSCRIPT[:-1])
    assert (finding.kind, finding.what) == (Kind.LOST, LAST.text)


def test_one_piece_of_a_turn_that_is_not_there_is_lost() -> None:
    assert kinds(SAID, [kept(HELLO), *TRANSCRIPT[1:]]) == [Kind.LOST]


def test_what_need_not_be_there_is_not_lost_and_not_invented() -> None:
    said = [HELLO, MORE, REPLY, replace(LAST, kept="")]
    assert judge(said, TRANSCRIPT) == []
    assert judge(said, TRANSCRIPT[:-1]) == []


def test_what_is_there_twice_is_doubled() -> None:
    assert kinds(SAID, [*TRANSCRIPT, TRANSCRIPT[-1]]) == [Kind.DOUBLED]


def test_a_reply_that_is_there_cut_and_whole_is_doubled() -> None:
    cut = kept(REPLY, text="Answer one, what", interrupted=True)
    assert kinds(SAID, [TRANSCRIPT[0], cut, *TRANSCRIPT[1:]]) == [Kind.DOUBLED]


def test_what_nobody_said_is_invented() -> None:
    assert kinds(SAID, [*TRANSCRIPT, kept(LAST, text="Thank you.")]) == [Kind.INVENTED]


def test_a_piece_with_other_words_behind_it_is_invented_from_there() -> None:
    stored = [*TRANSCRIPT[:-1], kept(LAST, text=f"{LAST.text} Thank you.")]
    [finding] = judge(SAID, stored)
    assert (finding.kind, finding.what) == (Kind.INVENTED, "Thank you.")


def test_a_persons_words_may_not_be_cut() -> None:
    """Half a sentence is not what was said: the whole is lost, the half made up."""
    cut = kept(LAST, text="I feel better about", interrupted=True)
    assert sorted(kinds(SAID, [*TRANSCRIPT[:-1], cut])) == [Kind.INVENTED, Kind.LOST]


@pytest.mark.parametrize(
    "changed", [{"speaker": "coach-1"}, {"role": COACH}, {"session": "b"}, {"role": AI}]
)
def test_words_of_another_speaker_or_session_are_misattributed(changed: dict[str, object]) -> None:
    assert kinds(SAID, [*TRANSCRIPT[:-1], kept(LAST, **changed)]) == [Kind.MISATTRIBUTED]


def test_a_turn_before_what_was_said_earlier_is_misordered() -> None:
    assert kinds(SAID, [TRANSCRIPT[0], TRANSCRIPT[2], TRANSCRIPT[1]]) == [Kind.MISORDERED]


def test_pieces_in_the_wrong_order_within_a_turn_are_misordered() -> None:
    swapped = kept(HELLO, text=f"{MORE.text} {HELLO.text}")
    assert kinds(SAID, [swapped, *TRANSCRIPT[1:]]) == [Kind.MISORDERED]


def test_two_speakers_may_overlap_by_the_slack_and_no_more() -> None:
    spoken = [replace(REPLY, at=1.2), HELLO]
    stored = [kept(REPLY), kept(HELLO)]
    assert kinds(spoken, stored, slack=0.5) == []
    assert kinds(spoken, stored, slack=0.1) == [Kind.MISORDERED]


def test_one_speakers_words_are_in_order_whatever_the_slack() -> None:
    assert kinds([HELLO, MORE], [kept(MORE), kept(HELLO)], slack=60) == [Kind.MISORDERED]


def test_the_order_of_one_session_is_nothing_to_another() -> None:
    other = Spoken("b", CLIENT, "It was hard to sleep after number four.", 0.5, "client-2")
    assert judge([HELLO, other], [kept(HELLO), kept(other)]) == []


def test_a_reply_may_be_cut_where_it_was_no_longer_heard() -> None:
    heard = replace(REPLY, kept="Answer one,")
    cut = kept(REPLY, text="Answer one, what matters", interrupted=True)
    assert kinds([heard], [cut]) == []
    assert kinds([heard], [replace(cut, text="Answer one,")]) == []
    assert kinds([heard], [replace(cut, text="Answer")]) == [Kind.LOST]
    assert kinds([heard], []) == [Kind.LOST]


def test_a_cut_reply_says_so() -> None:
    heard = replace(REPLY, kept="Answer one,")
    assert kinds([heard], [kept(REPLY, text="Answer one,")]) == [Kind.UNMARKED]
    assert kinds([heard], [kept(REPLY)]) == []


def test_a_reply_that_nobody_heard_begin_may_be_missing() -> None:
    assert kinds([replace(REPLY, kept="")], []) == []


def test_a_cut_reply_is_that_of_its_own_session_where_several_begin_so() -> None:
    mine = replace(REPLY, session="b", kept="Answer", text="Answer two, and you?", at=7.0)
    cut = Stored("b", AI, "Answer", interrupted=True)
    assert kinds([REPLY, mine], [kept(REPLY), cut]) == []
    second = replace(mine, session="a")
    assert kinds([REPLY, second], [kept(REPLY), replace(cut, session="a")]) == []


def test_repeated_words_are_told_apart_by_session() -> None:
    greeting = Spoken("a", AI, "Hello, how are you?", 0.0)
    both = [greeting, replace(greeting, session="b")]
    assert kinds(both, [kept(piece) for piece in both]) == []
    assert kinds(both, [kept(greeting)]) == [Kind.LOST]


def test_an_empty_turn_is_no_turn_and_nothing_is_said_of_it() -> None:
    assert judge([], [Stored("a", CLIENT, "  ")]) == []


def test_counts_name_every_kind() -> None:
    found = counts(judge(SAID, []))
    assert found[Kind.LOST] == len(SAID)
    assert found[Kind.DOUBLED] == 0
    assert set(found) == set(Kind)


@pytest.mark.parametrize(
    ("at", "expected"), [(9.8, True), (9.95, False), (10.5, False), (12.0, True), (12.1, True)]
)
def test_only_a_death_right_behind_or_before_excuses(at: float, expected: bool) -> None:
    assert due(at, [(10.0, 12.0)]) is expected


def test_only_what_was_heard_by_then_has_to_be_kept() -> None:
    words = [(1.0, "Take"), (1.4, "a"), (1.9, "breath.")]
    assert heard_until(words, 1.5) == "Take a"
    assert heard_until(words, 0.9) == ""


ENDING = Ending("a", frozenset({"client_left"}), frozenset({"completed"}), frozenset({"complete"}))
END = StoredEnd(
    session="a",
    status="completed",
    reason="client_left",
    started_at=100.0,
    ended_at=160.0,
    duration_seconds=60.0,
    completeness="complete",
    receipt_kept=True,
    reclaimed=False,
    jobs=1,
)


def end_kinds(ending: Ending = ENDING, *ends: StoredEnd) -> list[Kind]:
    return [finding.kind for finding in judge_ends([ending], ends)]


def test_an_end_as_it_was_passes() -> None:
    assert end_kinds(ENDING, END) == []
    assert end_kinds(replace(ENDING, ended=(159.0, 161.0)), END) == []


def test_a_session_that_is_not_there_is_missing() -> None:
    assert end_kinds(ENDING) == [Kind.MISSING]


def test_two_sessions_for_one_have_ended_twice() -> None:
    assert end_kinds(ENDING, END, END) == [Kind.ENDED_TWICE]


def test_a_session_that_nobody_held_is_invented() -> None:
    assert end_kinds(ENDING, END, replace(END, session="b")) == [Kind.INVENTED]


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"status": "active", "ended_at": None}, Kind.NOT_ENDED),
        ({"reason": "worker_lost"}, Kind.UNTRUE_END),
        ({"status": "cancelled"}, Kind.UNTRUE_END),
        ({"ended_at": 170.0, "duration_seconds": 70.0}, Kind.UNTRUE_END),
        ({"duration_seconds": 30.0}, Kind.UNTRUE_END),
        ({"duration_seconds": None}, Kind.UNTRUE_END),
        ({"completeness": "partial"}, Kind.UNTRUE_RECEIPT),
        ({"receipt_kept": False}, Kind.UNTRUE_RECEIPT),
        ({"reclaimed": True}, Kind.RECLAIMED),
        ({"jobs": 0}, Kind.JOBS),
        ({"jobs": 2}, Kind.JOBS),
    ],
)
def test_an_end_that_is_not_as_it_was_is_found(changed: dict[str, Any], kind: Kind) -> None:
    ending = replace(ENDING, ended=(155.0, 165.0))
    assert end_kinds(ending, replace(END, **changed)) == [kind]


def test_a_worker_out_of_touch_may_have_been_reclaimed() -> None:
    assert end_kinds(replace(ENDING, reclaimable=True), replace(END, reclaimed=True)) == []


def test_the_first_word_of_a_reply_is_nobody_elses_loss() -> None:
    """So few words could be of any reply; the one that is there whole is not said twice by them."""
    other = replace(REPLY, text="Answer two, what matters to you in it?", at=7.0, kept="")
    cut = kept(REPLY, text="Answer", interrupted=True)
    assert judge([REPLY, other], [cut, kept(REPLY)]) == []
    assert judge([other, REPLY], [kept(REPLY), cut]) == []


def test_of_the_same_words_said_twice_one_may_be_cut_short_and_none_may_be_gone() -> None:
    again, cut = (
        replace(REPLY, kept="Answer one,"),
        kept(REPLY, text="Answer one,", interrupted=True),
    )
    for said in ([REPLY, again], [again, REPLY]):
        assert judge(said, [cut, kept(REPLY)]) == judge(said, [kept(REPLY), cut]) == []
        assert kinds(said, [cut]) == [Kind.LOST, Kind.LOST]
        assert kinds(said, [kept(REPLY)]) == [Kind.LOST]


@pytest.mark.parametrize(
    ("began", "wrong"), [(0.2, False), (1.4, False), (-0.1, True), (1.6, True)]
)
def test_a_turn_that_began_when_nobody_spoke_is_misordered(began: float, wrong: bool) -> None:
    turn = kept(HELLO, began=began)
    found = [finding.kind for finding in judge([HELLO], [turn], early=1.0, late=0.5)]
    assert found == ([Kind.MISORDERED] if wrong else [])
    assert judge([HELLO], [turn]) == []
