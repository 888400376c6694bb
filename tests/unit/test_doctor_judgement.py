"""What a doctor makes of what was measured: what is well, what can wait, what needs somebody."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.doctor import judgement
from agent.doctor.check import Check, Level
from agent.doctor.screen import healthy
from persistence.diagnosis import Count, Jobs, Role, Server, Sessions, Skew, Workers
from persistence.journal.inspection import Inspection

SERVER = Server(
    version_num=160004, is_standby=False, is_read_only=False, connections=10, max_connections=97
)
SESSIONS = Sessions(active=3, without_worker=0, partial=0, recovered=0, reclaimed=0)
JOURNALS = Inspection(
    can_write=True,
    open_to_others=0,
    free_bytes=50 * 1024**3,
    stored_bytes=1000,
    held=1,
    left_behind=0,
    left_events=0,
    damaged_bytes=0,
    degraded=0,
    unreadable=0,
)
LIMIT = 2 * 1024**3


def levels(checks: list[Check]) -> dict[str, Level]:
    return {check.name: check.level for check in checks if check.level is not Level.OK}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, {}),
        ({"version_num": 140000}, {}),
        ({"version_num": 130012}, {"version": Level.BAD}),
        ({"is_standby": True, "is_read_only": True}, {"writable": Level.BAD}),
        ({"is_read_only": True}, {"writable": Level.BAD}),
        ({"connections": 80}, {"connections": Level.NOTE}),
        ({"connections": 95}, {"connections": Level.BAD}),
        ({"connections": 99}, {"connections": Level.BAD}),
    ],
)
def test_a_server(changed: dict[str, Any], found: dict[str, Level]) -> None:
    assert levels(judgement.of_server(replace(SERVER, **changed))) == found


@pytest.mark.parametrize(
    ("skew", "level"),
    [
        (Skew(0.1, 0.01), Level.OK),
        (Skew(-2.5, 0.01), Level.BAD),
        (Skew(3600, 0.01), Level.BAD),
        (Skew(2.5, 1.0), Level.OK),
    ],
)
def test_a_clock_is_off_only_beyond_what_the_question_took(skew: Skew, level: Level) -> None:
    assert judgement.of_skew(skew).level is level


def test_a_role_that_may_too_much_can_wait_and_one_that_may_too_little_cannot() -> None:
    owner = Role(is_superuser=True, may_more=["superuser"], tables_refused=[])
    poor = Role(is_superuser=False, may_more=[], tables_refused=["sessions", "turns"])
    assert levels(judgement.of_role(owner, is_local=False)) == {"rights": Level.NOTE}
    assert levels(judgement.of_role(owner, is_local=True)) == {}
    [refused] = judgement.of_role(poor, is_local=True)
    assert refused.level is Level.BAD
    assert "2 tables" in refused.found
    assert "--grant" in refused.advice


@pytest.mark.parametrize(
    ("checks", "found"),
    [
        (judgement.of_workers(Workers(2, 0)), {}),
        (judgement.of_workers(Workers(0, 0)), {"alive": Level.BAD}),
        (judgement.of_workers(Workers(1, 1)), {"lost in the last day": Level.NOTE}),
        (judgement.of_sessions(SESSIONS), {}),
        (
            judgement.of_sessions(replace(SESSIONS, without_worker=1)),
            {"active without a live worker": Level.BAD},
        ),
        (
            judgement.of_sessions(replace(SESSIONS, partial=1, recovered=2, reclaimed=3)),
            {
                "partial in the last day": Level.NOTE,
                "recovered in the last day": Level.NOTE,
                "reclaimed in the last day": Level.NOTE,
            },
        ),
        (judgement.of_dead_letters([]), {}),
        (judgement.of_dead_letters([Count("turn 23514", 2)]), {"dead letters": Level.BAD}),
        (judgement.of_jobs(Jobs([], 0)), {}),
        (judgement.of_jobs(Jobs([Count("summarise", 1)], 0)), {"failed: summarise": Level.BAD}),
        (judgement.of_jobs(Jobs([], 4)), {"overdue": Level.BAD}),
        (judgement.of_rooms(7, 7, 0), {}),
        (judgement.of_rooms(7, 3, 1), {"clients without an agent": Level.BAD}),
    ],
)
def test_workers_sessions_jobs_and_rooms(checks: list[Check], found: dict[str, Level]) -> None:
    assert levels(checks) == found
    assert healthy(checks) == (Level.BAD not in found.values())


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, {}),
        ({"can_write": False}, {"directory": Level.BAD}),
        ({"unreadable": 1}, {"directory": Level.BAD}),
        ({"open_to_others": 2}, {"modes": Level.BAD}),
        ({"free_bytes": 500 * 1024**2}, {"disk": Level.NOTE}),
        ({"free_bytes": 1024**2}, {"disk": Level.BAD}),
        ({"stored_bytes": int(0.9 * LIMIT)}, {"size": Level.BAD}),
        ({"left_behind": 1, "left_events": 12}, {"left behind": Level.BAD}),
        ({"damaged_bytes": 3}, {"damage": Level.NOTE}),
        ({"degraded": 1}, {"degraded": Level.BAD}),
    ],
)
def test_journals(changed: dict[str, Any], found: dict[str, Level]) -> None:
    assert levels(judgement.of_journals(replace(JOURNALS, **changed), LIMIT)) == found


def test_a_machine_without_journals_is_well() -> None:
    assert levels(judgement.of_journals(None, LIMIT)) == {}


def test_whatever_is_not_well_says_what_to_do() -> None:
    worst = [
        *judgement.of_server(Server(90000, True, True, 100, 100)),
        judgement.of_skew(Skew(99, 0)),
        *judgement.of_role(Role(False, ["x"], ["y"]), is_local=False),
        *judgement.of_workers(Workers(0, 1)),
        *judgement.of_sessions(Sessions(1, 1, 1, 1, 1)),
        *judgement.of_dead_letters([Count("turn", 1)]),
        *judgement.of_jobs(Jobs([Count("summarise", 1)], 1)),
        *judgement.of_journals(Inspection(False, 1, 0, LIMIT, 0, 1, 1, 1, 1, 1), LIMIT),
        *judgement.of_rooms(1, 1, 1),
    ]
    assert len({check.name for check in worst}) == len(worst)
    assert all(check.advice for check in worst if check.level is not Level.OK)
