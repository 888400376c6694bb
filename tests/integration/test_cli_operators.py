"""`coach audit` and `coach deadletters`: what is found, what goes through, and the exit codes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import UUID, uuid4

from commanding import Coach
from shipping import ended, execute, journal, ship, started, stored, turn, value

from agent.jobs.names import SUMMARISE
from persistence.events import Event, Turn
from persistence.recovery import receipt_of


def told(url: str, tmp_path: Path, turns: int = 6, *, poisoned: bool = False) -> UUID:
    """Ship a session of some turns; of a poisoned one the last turn is refused."""
    session_id = uuid4()
    said: list[Turn] = [turn(session_id, seq) for seq in range(1, turns + 1)]
    if poisoned:
        said[-1] = said[-1].model_copy(update={"confidence": 7.0})
    receipt = receipt_of(said, trouble=None, recovered=False).model_dump()
    events: list[Event] = [started(), *said, ended(receipt=receipt)]
    journal(tmp_path, events, session_id)
    asyncio.run(ship(url, tmp_path))
    return session_id


def allow(url: str) -> None:
    execute(url, "ALTER TABLE turns DROP CONSTRAINT ck_turns_confidence")


def test_an_audit_of_whole_records_is_green(
    coach: Coach, database_url: str, tmp_path: Path
) -> None:
    assert "0 sessions" in coach("audit")
    told(database_url, tmp_path)
    assert "1 session: 1 proven" in coach("audit")
    assert json.loads(coach("audit", "--json")) == {
        "findings": [],
        "complete": True,
        "sessions": 1,
        "standings": {
            name: int(name == "proven")
            for name in (
                "proven", "active", "provisional", "imported", "archived", "erased", "wrong"
            )
        },
    }  # fmt: skip


def test_an_audit_lists_what_does_not_match_and_never_what_was_said(
    coach: Coach, database_url: str, tmp_path: Path
) -> None:
    touched, _ = told(database_url, tmp_path), told(database_url, tmp_path)
    refused = told(database_url, tmp_path, poisoned=True)
    changed = "UPDATE turns SET text = 'purple heron' WHERE seq = 2 AND session_id = %s"
    execute(database_url, changed, touched)
    said = coach("audit", code=1)
    assert f"{touched}  receipt_broken" in said
    assert f"{refused}  dead_letters" in said
    assert "3 sessions: 1 proven, 2 wrong" in said
    assert "heron" not in said
    found = json.loads(coach("audit", "--json", code=1))
    assert {f["sessionId"]: f["problem"] for f in found["findings"]} == {
        str(touched): "receipt_broken",
        str(refused): "dead_letters",
    }
    assert json.loads(coach("audit", "--since", "2030-01-01", "--json"))["sessions"] == 0


def test_refused_events_are_listed_without_what_they_hold(
    coach: Coach, database_url: str, tmp_path: Path
) -> None:
    assert "no dead letters" in coach("deadletters", "list")
    sessions = {str(told(database_url, tmp_path, poisoned=True)) for _ in range(2)}
    listed = coach("deadletters", "list")
    assert all(session in listed for session in sessions)
    assert "ck_turns_confidence" in listed
    assert "23514" in listed
    assert "Said as" not in listed
    assert "and 1 more" in coach("deadletters", "list", "--limit", "1")
    letters = json.loads(coach("deadletters", "list", "--json"))
    assert {letter["sessionId"] for letter in letters} == sessions
    assert {(letter["kind"], letter["attempts"]) for letter in letters} == {("turn", 1)}


def test_after_a_fix_refused_events_go_through_and_their_jobs_are_deferred(
    coach: Coach, database_url: str, tmp_path: Path
) -> None:
    one, _ = (told(database_url, tmp_path, poisoned=True) for _ in range(2))
    execute(database_url, "DELETE FROM procrastinate_jobs")
    assert "2 were refused again" in coach("deadletters", "retry", code=1)
    assert value(database_url, "SELECT count(*) FROM procrastinate_jobs") == 0
    allow(database_url)
    [letter] = [x for x in stored(database_url, "dead_letters") if x["session_id"] == one]
    assert letter["attempts"] == 2
    assert "1 went through" in coach("deadletters", "retry", str(letter["id"]))
    deferred = "SELECT min(task_name) FROM procrastinate_jobs HAVING count(*) = 1"
    assert value(database_url, deferred) == SUMMARISE
    assert json.loads(coach("deadletters", "retry", "--json")) == {
        "accepted": 1,
        "refused": 0,
        "unknown": 0,
    }
    assert "2 proven" in coach("audit")
    again = coach("deadletters", "retry", str(letter["id"]), code=1)
    assert "1 are no dead letters" in again
