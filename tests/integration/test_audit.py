"""The audit on a real database: what was shipped proves itself, what was touched since is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from shipping import T0, conversation, ended, execute, journal, nothing, ship, started, turn

from persistence import audit, database, liveness, tombstones
from persistence.events import Event, Role, Turn
from persistence.recovery import receipt_of
from persistence.verdicts import Finding, Problem, Standing


def honest(session_id: UUID) -> list[Event]:
    """A conversation whose end has the receipt of its turns."""
    events = conversation(session_id)[:-1]
    turns = [event for event in events if isinstance(event, Turn)]
    receipt = receipt_of(turns, trouble=None, recovered=False).model_dump()
    return [*events, ended(receipt=receipt)]


async def shipped(url: str, tmp_path: Path, how_many: int = 1) -> list[UUID]:
    sessions = [
        journal(tmp_path, honest(session), session) for session in map(new, range(how_many))
    ]
    await ship(url, tmp_path)
    return sessions


def new(_: int) -> UUID:
    return uuid4()


async def found(url: str, **options: Any) -> list[Finding]:
    async with await database.connect(url, "test") as db:
        return [finding async for finding in audit.findings(db, **options)]


async def standings(url: str) -> dict[UUID, Standing]:
    async with await database.connect(url, "test") as db:
        return {v.session_id: v.standing async for v in audit.verdicts(db)}


async def test_what_was_shipped_proves_itself_over_more_than_a_page(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PAGE_SESSIONS", 3)
    sessions = await shipped(database_url, tmp_path, 7)
    assert await standings(database_url) == dict.fromkeys(sessions, Standing.PROVEN)
    assert await found(database_url) == []
    async with await database.connect(database_url, "test") as db:
        assert await audit.count(db) == 7


@pytest.mark.parametrize(
    ("statement", "problems"),
    [
        ("DELETE FROM turns WHERE seq = 1", {"receipt_broken", "turn_count_wrong", "seq_missing"}),
        ("UPDATE turns SET text = 'Else.' WHERE seq = 1", {"receipt_broken"}),
        ("UPDATE turns SET role = 'coach' WHERE seq = 1", {"receipt_broken"}),
        ("DELETE FROM session_events", {"seq_missing"}),
        ("UPDATE sessions SET end_reason = NULL", {"no_end_reason"}),
        ("UPDATE sessions SET transcript_sha256 = NULL", {"no_receipt"}),
        ("UPDATE sessions SET status = 'active', ended_at = NULL", {"worker_gone"}),
    ],
)
async def test_a_change_to_what_is_stored_is_found(
    database_url: str, tmp_path: Path, statement: str, problems: set[str]
) -> None:
    touched, whole = await shipped(database_url, tmp_path, 2)
    table = statement.replace("DELETE FROM ", "").replace("UPDATE ", "").split()[0]
    column = "id" if table == "sessions" else "session_id"
    glue = " AND " if "WHERE" in statement else " WHERE "
    execute(database_url, f"{statement}{glue}{column} = %s", touched)
    findings = await found(database_url)
    assert {finding.problem.value for finding in findings} == problems
    assert {finding.session_id for finding in findings} == {touched}
    assert (await standings(database_url))[whole] is Standing.PROVEN


async def test_only_sessions_since_then_are_looked_at(database_url: str, tmp_path: Path) -> None:
    await shipped(database_url, tmp_path)
    execute(database_url, "DELETE FROM turns")
    assert await found(database_url, since=T0)
    execute(database_url, "UPDATE sessions SET started_at = started_at - interval '1 s'")
    assert await found(database_url, since=T0) == []


async def test_a_session_with_dead_letters_is_found_as_that_alone(
    database_url: str, tmp_path: Path
) -> None:
    session_id = uuid4()
    poison: list[Event] = [
        started(),
        turn(session_id, 1),
        turn(session_id, 2, confidence=7),
        ended(),
    ]
    journal(tmp_path, poison, session_id)
    await ship(database_url, tmp_path)
    assert await found(database_url) == [Finding(session_id, Problem.DEAD_LETTERS, "1 refused")]
    execute(database_url, "DELETE FROM sessions")
    assert await found(database_url) == [Finding(session_id, Problem.SESSION_MISSING, "1 refused")]


async def test_a_provisional_end_is_no_problem_and_its_lost_worker_was_one(
    database_url: str, tmp_path: Path
) -> None:
    session_id = uuid4()
    journal(tmp_path, conversation(session_id)[:-1], session_id)
    await ship(database_url, tmp_path)  # ended by its journal: nobody holds its lock
    execute(
        database_url,
        "UPDATE sessions SET status = 'active', ended_at = NULL, end_reason = NULL,"
        " completeness = NULL, turn_count = NULL, transcript_sha256 = NULL",
    )
    assert [f.problem for f in await found(database_url)] == [Problem.WORKER_GONE]
    async with await database.connect(database_url, "test") as db:
        assert await liveness.reclaim(db, nothing) == [session_id]
    assert await standings(database_url) == {session_id: Standing.PROVISIONAL}


async def test_a_live_lease_makes_an_active_session_a_sound_one(
    database_url: str, tmp_path: Path
) -> None:
    session_id, worker = uuid4(), uuid4()
    journal(tmp_path, honest(session_id), session_id)
    await ship(database_url, tmp_path, worker_id=worker)
    execute(database_url, "UPDATE sessions SET status = 'active', ended_at = NULL")
    execute(
        database_url,
        "INSERT INTO worker_leases (worker_id, host, pid, version, expires_at)"
        " VALUES (%s, 'h', 1, '1', now() + interval '1 minute')",
        worker,
    )
    assert await standings(database_url) == {session_id: Standing.ACTIVE}


@pytest.mark.parametrize("who", ["session", "speaker"])
async def test_what_was_erased_is_told_apart_from_what_was_lost(
    database_url: str, tmp_path: Path, who: str
) -> None:
    session_id = uuid4()
    coach = turn(session_id, 5, role=Role.COACH, speaker_identity="coach-kim")
    events = [*honest(session_id)[:-1], coach]
    turns = [event for event in events if isinstance(event, Turn)]
    receipt = receipt_of(turns, trouble=None, recovered=False).model_dump()
    journal(tmp_path, [*events, ended(receipt=receipt)], session_id)
    await ship(database_url, tmp_path)
    execute(database_url, "DELETE FROM turns WHERE seq = 1")
    assert await found(database_url)
    async with await database.connect(database_url, "test") as db:
        if who == "session":
            await tombstones.add_session(db, session_id)
        else:
            await tombstones.add_identity(db, "kim")
    assert await standings(database_url) == {session_id: Standing.ERASED}


async def test_a_session_is_seen_before_or_after_what_happens_to_it_never_half(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [session_id] = await shipped(database_url, tmp_path)
    async with await database.connect(database_url, "test") as db:
        ask = db.execute

        async def interrupted(query: Any, *more: Any, **options: Any) -> Any:
            if query == audit._TURNS:  # the session is read, its turns are next
                execute(database_url, "DELETE FROM turns")
            return await ask(query, *more, **options)

        monkeypatch.setattr(db, "execute", interrupted)
        seen = [verdict async for verdict in audit.verdicts(db)]
    assert [(v.session_id, v.standing) for v in seen] == [(session_id, Standing.PROVEN)]
