"""What a killed process has to have kept, by what it said of itself; what a full disk excuses."""

from __future__ import annotations

import json
import time
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from agent.local.chaos import truth
from agent.local.chaos.clocks import Clock
from agent.local.chaos.plan import Talk
from agent.local.chaos.scene import LiveJob
from agent.local.chaos.speech import Line, Way
from agent.local.chaos.truth import Held, Told
from agent.local.chaos.verdict import Kind, Spoken, judge
from agent.local.wrong_clock import WrongClock
from persistence.events import EndReason

SESSION = UUID(int=7)
LINES = (
    Line(Way.CLIENT, 0, 0.0, ("a1 tired", "a2 again"), 0.1),
    Line(Way.AI, 1, 0.5, ("b1 what", "b2 helps"), 0.1),
)


def entry(t: float, event: str, **what: Any) -> dict[str, Any]:
    return {"t": t, "event": event, **what}


def said(t: float, piece: int) -> list[dict[str, Any]]:
    text = LINES[0].pieces[piece]
    return [
        entry(t, "says", line=0, piece=piece, text=text, typed=False),
        entry(t + 0.001, "said", line=0, piece=piece),
    ]


def heard(t: float, piece: int) -> list[dict[str, Any]]:
    text = " ".join(LINES[1].pieces[: piece + 1])
    return [
        entry(t, "hears", line=1, piece=piece, text=text),
        entry(t + 0.001, "heard", line=1, piece=piece),
    ]


def told(
    *entries: list[dict[str, Any]],
    died: float | None = None,
    full: tuple[tuple[float, float], ...] = (),
    epoch: float = 0.0,
) -> Told:
    talk = Talk(0, 0.0, LINES, EndReason.CLIENT_LEFT)
    process: Any = SimpleNamespace()
    job = LiveJob(talk, SESSION, process, Path(), Path(), 0, 8.9, crashed_at=died)
    return Told(job, [entry(9.0, "begins"), *chain(*entries)], full, epoch)


def least(spoken: list[Spoken]) -> list[str]:
    return [" ".join(piece.least) for piece in spoken]


def held(completeness: str, *texts: str) -> Held:
    turns = [
        {
            "session": str(SESSION),
            "role": "client",
            "speaker_identity": "client-0",
            "text": text,
            "interrupted": False,
        }
        for text in texts
    ]
    return Held([{"id": str(SESSION), "completeness": completeness}], turns)


def test_a_segment_has_to_be_kept_from_a_tenth_of_a_second_before_the_death_on() -> None:
    spoken = told(said(10.0, 0), said(10.5, 1), died=10.55).spoken()
    assert least(spoken) == ["a1 tired", ""]


def test_what_a_process_was_killed_in_the_middle_of_may_be_there_or_not() -> None:
    begun = told(said(10.0, 0)[:1], died=20.0)
    assert least(begun.spoken()) == [""]
    assert judge(begun.spoken(), held("recovered").stored()) == []
    assert judge(begun.spoken(), held("recovered", "a1 tired").stored()) == []


def test_of_a_reply_what_was_heard_half_a_second_before_the_death_has_to_be_kept() -> None:
    story = told(heard(10.0, 0), heard(10.2, 1), died=10.6)
    assert least(story.spoken()) == ["b1 what"]
    assert story.spoken()[0].text == "b1 what b2 helps"


def test_who_was_not_killed_has_to_have_kept_everything() -> None:
    assert least(told(said(10.0, 0), heard(10.2, 0)).spoken()) == ["a1 tired", "b1 what"]


def test_a_full_disk_excuses_what_a_death_before_its_end_took_if_the_session_says_so() -> None:
    story = told(said(10.0, 0), said(11.0, 1), died=11.5, full=((10.5, 12.0),))
    assert least(story.spoken()) == ["a1 tired", ""]
    assert held("partial", "a1 tired").unsaid(story) == []
    assert [f.kind for f in held("recovered", "a1 tired").unsaid(story)] == [Kind.LOST]
    assert held("recovered", "a1 tired", "a2 again").unsaid(story) == []


def test_a_full_disk_excuses_nobody_who_was_not_killed() -> None:
    story = told(said(10.0, 0), said(11.0, 1), full=((10.5, 12.0),))
    assert least(story.spoken()) == ["a1 tired", "a2 again"]


def test_a_session_has_to_have_ended_as_its_job_said_or_as_a_death_is_called() -> None:
    own = [entry(11.0, "ends", reason="client_left", trouble=None)]
    row = {"turns": 5}
    lived = told(own).ending(row)
    killed = told(said(10.0, 0), died=10.5).ending(row)
    assert lived is not None
    assert killed is not None
    assert lived.reasons == {"client_left"}
    assert lived.completeness == {"complete"}
    assert lived.jobs == 1
    assert killed.reasons == {"error", "worker_lost"}
    assert killed.completeness == {"recovered", "partial"}


def test_a_job_that_was_killed_as_it_began_need_not_have_left_a_session() -> None:
    assert told(died=9.05).ending(None) is None
    assert told(died=9.5).ending(None) is not None


def test_a_session_is_held_against_the_clock_by_which_it_began() -> None:
    own = [entry(11.0, "ends", reason="client_left", trouble=None)]
    story = told(said(10.0, 0), own, epoch=3600.0)
    ending = story.ending({"turns": 1})
    assert ending is not None
    assert ending.began == (3607.9, 3610.0)
    assert ending.ended == (3610.0, 3612.0)
    assert [piece.at for piece in story.spoken()] == [3610.0]


def test_where_the_clock_jumped_as_a_session_began_any_of_the_two_times_is_true(
    tmp_path: Path,
) -> None:
    clock = Clock(WrongClock.made(tmp_path, tmp_path / "clock"))
    before = time.monotonic()
    clock.jump(3600.0)
    after = time.monotonic()
    assert sorted(clock.showed(before, after)) == [0.0, 3600.0]
    assert clock.showed(after, after) == [3600.0]
    clock.jump(0.0)
    assert clock.showed(time.monotonic(), time.monotonic()) == [0.0]
    record = tmp_path / "talk"
    record.write_text(json.dumps(entry(after, "begins")) + "\n")
    process: Any = SimpleNamespace()
    talk = Talk(0, 0.0, LINES, EndReason.CLIENT_LEFT)
    job = LiveJob(talk, SESSION, process, record, tmp_path, 0, before)
    right = time.time() - time.monotonic()
    for off in (0.0, 3600.0):
        story = truth.told(job, (), clock, {"started": after + right + off})
        assert abs(story.epoch - right - off) < 1.0


def test_no_clock_is_right_at_another_time_than_it_showed(tmp_path: Path) -> None:
    """A start that no clock showed is not taken for that of one that jumped."""
    clock = Clock(WrongClock.made(tmp_path, tmp_path / "clock"))
    process: Any = SimpleNamespace()
    talk = Talk(0, 0.0, LINES, EndReason.CLIENT_LEFT)
    now = time.monotonic()
    job = LiveJob(talk, SESSION, process, tmp_path / "none", tmp_path, 0, now)
    story = truth.told(job, (), clock, {"started": time.time() + 3600.0})
    assert abs(story.epoch - (time.time() - time.monotonic())) < 1.0


def test_a_clock_that_cannot_be_wrong_does_not_jump() -> None:
    clock = Clock()
    assert not clock.jump(60.0)
    assert clock.showed(0.0, time.monotonic()) == [0.0]
