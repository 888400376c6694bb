"""What a room campaign has to leave: by the recogniser's log, and by what the client has read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from agent.local.chaos.clocks import Clock
from agent.local.chaos.plan import Talk
from agent.local.chaos.room_truth import Room, judged, righted, unsent
from agent.local.chaos.speech import Line, Way
from agent.local.chaos.truth import Held
from agent.local.chaos.verdict import Kind
from agent.local.providers import lines
from agent.local.wrong_clock import WrongClock
from persistence.events import EndReason

GREETING = lines.reply(lines.GREETING_ID)


def heard(n: int, at: float, id_: int, connection: int = 1) -> dict[str, Any]:
    entry = {"n": n, "at": at, "stage": "stt", "event": "heard", "connection": connection}
    return {**entry, "ids": [id_], "text": lines.utterance(id_)}


SAID = [heard(3, 100.0, 11), heard(5, 110.0, 12), heard(8, 110.5, 77, connection=2)]


def room(
    folder: Path,
    *captions: str,
    died: tuple[float, ...] = (),
    read_at: float = 105.0,
    final: bool = True,
) -> Room:
    """Return a room whose client has read `captions`, all at one moment."""
    record = folder / "talk.jsonl"
    entry = {"event": "read", "at": read_at, "final": final}
    read = [{**entry, "segment": n, "text": text} for n, text in enumerate(captions)]
    record.write_text("".join(json.dumps(one) + "\n" for one in read))
    said = tuple(Line(Way.CLIENT, n, 0.0, (str(n),), 0.0) for n in (11, 12))
    return Room("r", Talk(0, 0.0, said, EndReason.CLIENT_LEFT), record, died=list(died))


def held(*turns: tuple[str, str], room: str = "r", analyses: int = 0) -> Held:
    session = {
        "id": "s",
        "room": room,
        "status": "completed",
        "end_reason": "client_left",
        "started": 90.0,
        "ended": 120.0,
        "duration": 30.0,
        "completeness": "complete",
        "turns": len(turns),
        "reclaimed": False,
        "taken": False,
        "ends": 1,
        "runs": analyses,
        "more": 0,
    }
    rows = [
        {
            "session": "s",
            "role": role,
            "speaker_identity": "client-0" if role == "client" else None,
            "text": text,
            "interrupted": False,
        }
        for role, text in turns
    ]
    return Held([session], rows)


def kinds(one: Room, found: Held, unsent: tuple[int, ...] = ()) -> set[str]:
    return {f.kind.value for f in judged([one], one.spoken(SAID, unsent), found, frozenset())}


WHOLE = (
    ("ai", GREETING),
    ("client", lines.utterance(11)),
    ("ai", lines.reply(11)),
    ("client", lines.utterance(12)),
)


def test_what_was_heard_and_read_is_there_and_nothing_is_found(tmp_path: Path) -> None:
    assert kinds(room(tmp_path, GREETING, lines.reply(11)), held(*WHOLE)) == set()


def test_a_segment_that_was_heard_has_to_be_there(tmp_path: Path) -> None:
    assert kinds(room(tmp_path), held(*WHOLE[:3])) == {"lost"}


def test_a_segment_that_a_fault_kept_from_the_worker_need_not(tmp_path: Path) -> None:
    assert kinds(room(tmp_path), held(*WHOLE[:3]), unsent=(5,)) == set()


def test_a_segment_that_came_as_a_job_died_need_not_and_an_earlier_one_has_to(
    tmp_path: Path,
) -> None:
    killed = room(tmp_path, died=(110.1,))
    assert "lost" not in kinds(killed, held(*WHOLE[:3]))
    assert "lost" in kinds(killed, held(WHOLE[0], *WHOLE[2:]))


def test_an_answer_that_the_client_has_read_has_to_be_there(tmp_path: Path) -> None:
    without = (WHOLE[0], WHOLE[1], WHOLE[3])
    assert kinds(room(tmp_path), held(*without)) == set()
    assert kinds(room(tmp_path, f"{lines.reply(11)} "), held(*without)) == {"lost"}
    assert kinds(room(tmp_path, lines.reply(11), died=(105.3,)), held(*without)) == set()


def test_of_an_answer_that_was_cut_short_has_to_be_there_what_was_read_in_whole_words(
    tmp_path: Path,
) -> None:
    answer = lines.reply(11)
    read = " ".join(answer.split()[:5])[:-1]  # "Answer one one, what matt"
    cut = room(tmp_path, read, final=False, died=(106.0,))
    four = ("ai", " ".join(answer.split()[:4]))
    assert "lost" not in kinds(cut, held(WHOLE[0], WHOLE[1], four, WHOLE[3]))
    three = ("ai", " ".join(answer.split()[:3]))
    assert "lost" in kinds(cut, held(WHOLE[0], WHOLE[1], three, WHOLE[3]))


def test_a_word_that_could_be_of_any_answer_proves_none(tmp_path: Path) -> None:
    without = (WHOLE[0], WHOLE[1], WHOLE[3])
    assert kinds(room(tmp_path, "Answer"), held(*without)) == set()
    more = " ".join(lines.reply(11).split()[:5])
    assert kinds(room(tmp_path, more), held(*without)) == {"lost"}


def test_a_greeting_that_was_read_has_to_be_there_each_time(tmp_path: Path) -> None:
    twice = room(tmp_path, GREETING, GREETING, lines.reply(11))
    assert kinds(twice, held(*WHOLE)) == {"lost"}
    assert kinds(twice, held(WHOLE[0], *WHOLE)) == {"jobs"}  # it has five turns now


def test_words_that_were_cut_off_are_of_the_client_whose_connection_they_came_over(
    tmp_path: Path,
) -> None:
    cut = {**heard(9, 111.0, 0), "ids": [], "text": lines.GARBLED}
    one, found = room(tmp_path), held(*WHOLE, ("client", lines.GARBLED), analyses=1)
    # the second has heard another client, the third nobody
    for connection, wrong in ((1, set()), (2, {"invented"}), (3, set())):
        spoken = one.spoken([*SAID, {**cut, "connection": connection}], ())
        findings = judged([one], spoken, found, frozenset())
        assert {f.kind.value for f in findings} == wrong


def test_what_nobody_said_in_this_room_is_found(tmp_path: Path) -> None:
    other = ("client", lines.utterance(77))
    assert kinds(room(tmp_path), held(*WHOLE, other, analyses=1)) == {"invented"}


@pytest.mark.parametrize("off", [7200.0, -7200.0])
def test_a_session_that_began_by_a_wrong_clock_is_judged_by_when_it_was(
    tmp_path: Path, off: float
) -> None:
    """Also where another agent, by another clock, came into the same room after it."""
    clock, since = jumping(tmp_path), time.monotonic()
    clock.jump(off)
    first = time.time()
    clock.jump(0.0)
    rows = [session("b", first + off), session("a", first + 0.1)]
    turns = [
        {"session": "a", "role": "client", "text": "later", "began": first + 0.2},
        {"session": "b", "role": "client", "text": "sooner", "began": first + off + 0.1},
    ]
    right, findings = righted(Held(rows, turns), clock, since)
    assert findings == []
    assert [turn["text"] for turn in right.turns] == ["sooner", "later"]
    assert [round(turn["began"] - first, 3) for turn in right.turns] == [0.1, 0.2]
    assert [round(row["ended"] - first, 3) for row in right.sessions] == [1.0, 1.1]


def test_a_session_that_began_when_no_clock_showed_that_is_found(tmp_path: Path) -> None:
    clock, since = jumping(tmp_path), time.monotonic()
    clock.jump(7200.0)
    clock.jump(0.0)
    for began in (time.time() + 3600, time.time() - 3600):
        _, (found,) = righted(Held([session("a", began)], []), clock, since)
        assert found.kind is Kind.UNTRUE_END


def test_a_session_cannot_have_lasted_longer_than_its_campaign(tmp_path: Path) -> None:
    one = room(tmp_path, GREETING, lines.reply(11))
    spoken = one.spoken(SAID, ())
    assert judged([one], spoken, held(*WHOLE), frozenset(), (90.0, 120.0)) == []
    for lived in ((95.0, 120.0), (90.0, 115.0)):
        (found,) = judged([one], spoken, held(*WHOLE), frozenset(), lived)
        assert found.kind is Kind.UNTRUE_END


def jumping(folder: Path) -> Clock:
    return Clock(WrongClock.made(folder, folder / "clock"))


def session(id_: str, started: float) -> dict[str, Any]:
    return {"id": id_, "room": "r", "started": started, "ended": started + 1.0}


def test_a_room_in_which_a_client_was_answered_has_a_session(tmp_path: Path) -> None:
    assert "missing" in kinds(room(tmp_path, GREETING), Held([], []))
    assert "missing" not in kinds(room(tmp_path), Held([], []))


def test_the_recogniser_fails_with_what_it_makes_next() -> None:
    assert unsent(SAID, [(99.9, 99.95)]) == {3}
    assert unsent(SAID, [(99.9, 100.1)]) == {3, 5}
    assert unsent(SAID, [(111.0, 111.1)]) == set()


def test_what_realtime_heard_as_it_was_closed_was_told_to_nobody() -> None:
    entry = {**heard(4, 100.0, 11), "stage": "realtime"}
    for closed, lost in ((100.05, {4}), (100.2, set())):
        end = {"n": 5, "at": closed, "stage": "realtime", "event": "closed", "connection": 1}
        assert unsent([entry, end], ()) == lost
