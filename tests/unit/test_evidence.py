"""A quote counts only if it was said, word for word, in the turn that it names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.jobs.evidence import Statement, supported, was_said
from persistence.analyses import TranscriptTurn

SAID = "Well, I don't sleep  much\nthese days — since March, really."


@pytest.mark.parametrize(
    "quote",
    [
        SAID,
        "I don't sleep much these days",
        "i DON\u2019T sleep, much; these days!",
        "since march really",
        "“I dont sleep much”",
        "much these days since",
    ],
)
def test_words_in_a_row_were_said_whatever_their_case_and_punctuation(quote: str) -> None:
    assert was_said(quote, SAID)


@pytest.mark.parametrize(
    "quote",
    [
        "I do sleep much these days",
        "I don't sleep these days",
        "sleep don't I much",
        "I don't sleep … since March",
        "don't sleep much these day",
        "Arch really",
        "I don't sleep much these days since March really and truly",
    ],
)
def test_words_changed_left_out_moved_or_added_were_not_said(quote: str) -> None:
    assert not was_said(quote, SAID)


@pytest.mark.parametrize("quote", ["", "   ", "…", "I", "these days", "!?"])
def test_a_quote_of_fewer_than_three_words_proves_nothing(quote: str) -> None:
    assert not was_said(quote, SAID)


def test_a_short_quote_counts_if_it_is_all_that_was_said() -> None:
    assert was_said("yes", "Yes.")
    assert not was_said("", "…")


def test_a_script_without_spaces_is_compared_by_its_characters() -> None:
    assert was_said("よく眠れ", "最近、よく眠れません。")
    assert not was_said("よく眠る", "最近、よく眠れません。")


@given(st.lists(st.from_regex(r"[a-zäß]{1,8}", fullmatch=True), min_size=3, max_size=30), st.data())
def test_any_three_words_in_a_row_of_a_turn_were_said(
    words: list[str], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(words) - 3))

    assert was_said(" ".join(words[start : start + 3]), ", ".join(words).upper())


def test_only_statements_with_their_quote_in_their_own_turn_are_kept() -> None:
    turns = [
        TranscriptTurn(seq=1, role="ai", text="What would you like to talk about today?"),
        TranscriptTurn(seq=2, role="client", text="My work keeps me up at night."),
    ]
    kept = Statement("Work keeps the client awake.", 2, "keeps me up at night")
    elsewhere = Statement("Work keeps the client awake.", 1, "keeps me up at night")
    invented = Statement("The client hates the job.", 2, "I hate my job")
    nowhere = Statement("The client is tired.", 7, "keeps me up at night")

    assert supported([invented, kept, elsewhere, nowhere], turns) == [kept]
