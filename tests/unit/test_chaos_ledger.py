"""The ledger of campaigns: what was played is not played again, and what failed fails the run."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from agent.local.chaos.campaigns import FAILED, PASSED, REFUSED, Wanted, exit_code, run
from agent.local.chaos.ledger import Ledger, fingerprint
from agent.local.chaos.outcome import Outcome
from agent.local.chaos.plan import Level
from agent.local.chaos.report import Report

LOST = {"kind": "lost", "session": "a", "what": "the last words"}


def outcome(number: int, faults: int = 10, findings: list[dict[str, str]] | None = None) -> Outcome:
    return Outcome("process", number, 9.5, {"job_killed": faults}, 8, 80, 70, 60, findings or [])


def ledger(folder: Path, *outcomes: Outcome) -> Ledger:
    made = Ledger.of(folder, 1, "code")
    for one in outcomes:
        made.add(one)
    return made


def shown(report: Report) -> str:
    said = StringIO()
    report.show(Console(file=said, width=100))
    return said.getvalue()


def test_what_was_played_is_there_after_a_restart(tmp_path: Path) -> None:
    played = [outcome(1), outcome(2, findings=[LOST])]
    ledger(tmp_path, *played)
    assert Ledger.of(tmp_path, 1, "code").done(Level.PROCESS, 1000) == played


def test_another_seed_or_other_code_has_a_ledger_of_its_own(tmp_path: Path) -> None:
    ledger(tmp_path, outcome(1))
    assert Ledger.of(tmp_path, 2, "code").done(Level.PROCESS, 1) == []
    assert Ledger.of(tmp_path, 1, "other").done(Level.PROCESS, 1) == []


def test_a_line_that_a_kill_cut_off_is_played_again(tmp_path: Path) -> None:
    ledger(tmp_path, outcome(1), outcome(2))
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text()[:-20])
    again = Ledger.of(tmp_path, 1, "code")
    assert again.done(Level.PROCESS, 1000) == [outcome(1)]
    again.add(outcome(2))
    assert Ledger.of(tmp_path, 1, "code").done(Level.PROCESS, 1000) == [outcome(1), outcome(2)]


def test_as_many_campaigns_count_as_the_faults_need(tmp_path: Path) -> None:
    made = ledger(tmp_path, outcome(1), outcome(2), outcome(3))
    assert made.done(Level.PROCESS, 15) == [outcome(1), outcome(2)]
    assert made.done(Level.PROCESS, 20) == [outcome(1), outcome(2)]
    assert made.done(Level.ROOM, 1) == []


def test_the_fingerprint_of_the_code_is_the_same_for_the_same_code() -> None:
    assert fingerprint() == fingerprint()


def test_one_finding_fails_the_run_and_is_shown_with_how_to_replay_it() -> None:
    report = Report(7, {Level.PROCESS: [outcome(1), outcome(2, findings=[LOST])]})
    assert exit_code(report) == FAILED
    text = shown(report)
    assert "coach chaos --seed 7 --campaign 2" in text
    assert "lost: a: the last words" in text
    found = report.to_json()
    assert (found["good"], found["levels"]["process"]["findings"]["lost"]) == (False, 1)
    assert found["failures"][0]["replay"] == "coach chaos --seed 7 --campaign 2"


def test_a_run_without_findings_passes_and_counts_what_was_broken() -> None:
    report = Report(7, {Level.PROCESS: [outcome(1), outcome(2)], Level.ROOM: []})
    assert exit_code(report) == PASSED
    level = report.to_json()["levels"]["process"]
    assert (level["faults"], level["by_kind"], level["spoken"]) == (20, {"job_killed": 20}, 160)


def test_a_run_that_broke_less_than_was_asked_for_does_not_pass() -> None:
    report = Report(7, {Level.PROCESS: [outcome(1)]})
    assert exit_code(report, {Level.PROCESS: 11}) == FAILED


def test_a_campaign_that_gave_up_fails_the_run() -> None:
    from agent.local.chaos.plan import campaign  # noqa: PLC0415

    given_up = Outcome.given_up(campaign(1, 1, Level.ROOM), OSError("no room"))
    assert exit_code(Report(1, {Level.ROOM: [given_up]})) == FAILED
    assert Outcome.from_json(given_up.to_json()) == given_up


def test_a_tenth_has_rooms_where_nobody_says_how_many() -> None:
    assert Wanted(faults=1000).shares == {Level.PROCESS: 900, Level.ROOM: 100}
    assert Wanted(faults=1000, rooms=0).shares == {Level.PROCESS: 1000, Level.ROOM: 0}
    assert Wanted(faults=5, rooms=9).shares == {Level.PROCESS: 0, Level.ROOM: 5}


def test_a_campaign_that_nobody_can_mean_is_refused(tmp_path: Path) -> None:
    assert run(Wanted(campaign="kitchen-1", folder=tmp_path)) == REFUSED
