"""Plans of campaigns: the same for the same seed, and such that what they break can be told."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.local.chaos.plan import FAULTS_EACH, WEIGHTS, Kind, Level, campaign
from agent.local.chaos.speech import Way

LEVELS = st.sampled_from(Level)
NUMBERS = st.integers(min_value=1, max_value=10_000)


@given(NUMBERS, NUMBERS, LEVELS)
def test_a_plan_is_the_same_for_the_same_seed_number_and_level(
    seed: int, number: int, level: Level
) -> None:
    assert campaign(seed, number, level) == campaign(seed, number, level)


@given(NUMBERS, NUMBERS)
def test_another_seed_number_or_level_is_another_plan(seed: int, number: int) -> None:
    plan = campaign(seed, number, Level.PROCESS)
    assert plan.faults != campaign(seed + 1, number, Level.PROCESS).faults
    assert plan.faults != campaign(seed, number + 1, Level.PROCESS).faults
    assert plan.faults != campaign(seed, number, Level.ROOM).faults


@given(NUMBERS, NUMBERS, LEVELS)
def test_a_plan_breaks_what_its_level_can_and_as_often_as_it_says(
    seed: int, number: int, level: Level
) -> None:
    faults = campaign(seed, number, level).faults
    fewest, most = FAULTS_EACH[level]
    assert fewest <= len(faults) <= most
    assert {fault.kind for fault in faults} <= set(WEIGHTS[level])
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)


@given(NUMBERS, NUMBERS)
def test_every_piece_of_speech_can_be_told_from_every_other_by_its_first_word(
    seed: int, number: int
) -> None:
    plan = campaign(seed, number, Level.PROCESS)
    first = [p.split()[0] for talk in plan.talks for line in talk.lines for p in line.pieces]
    assert len(first) == len(set(first))


@given(NUMBERS, NUMBERS)
def test_the_ai_answers_one_thing_at_a_time(seed: int, number: int) -> None:
    """Two replies of one agent never overlap: the framework plays them one after the other."""
    for talk in campaign(seed, number, Level.PROCESS).talks:
        replies = [line for line in talk.lines if line.way is Way.AI]
        for before, after in pairwise(replies):
            assert before.at + before.seconds < after.at


@given(NUMBERS, NUMBERS)
def test_no_two_utterances_of_a_room_campaign_are_the_same(seed: int, number: int) -> None:
    plan = campaign(seed, number, Level.ROOM)
    ids = [line.pieces[0] for talk in plan.talks for line in talk.lines]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("level", Level)
def test_a_hundred_campaigns_break_everything_that_can_break(level: Level) -> None:
    broken = {fault.kind for n in range(1, 101) for fault in campaign(1, n, level).faults}
    assert broken == set(WEIGHTS[level])


def test_every_kind_of_fault_is_of_some_level() -> None:
    assert set().union(*WEIGHTS.values()) == set(Kind)
