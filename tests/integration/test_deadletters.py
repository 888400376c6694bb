"""What Postgres refuses as data: one row put aside, the rest stored, and put through again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from shipping import (
    Deferred,
    conversation,
    ended,
    execute,
    journal,
    marker,
    nothing,
    ship,
    started,
    stored,
    turn,
)

from persistence import database, deadletters, search, tombstones
from persistence import shipper as shippers
from persistence.deadletters import Retried
from persistence.deferring import Db
from persistence.events import Event
from persistence.passages import Outcome, Passage, write_event, write_singly


def with_poison(session_id: UUID) -> list[Event]:
    """A conversation with a turn that the constraint on `confidence` refuses."""
    return [started(), turn(session_id, 1), turn(session_id, 2, confidence=7), ended()]


def allow(url: str) -> None:
    execute(url, "ALTER TABLE turns DROP CONSTRAINT ck_turns_confidence")


async def test_one_refused_turn_is_put_aside_and_the_rest_is_stored(
    database_url: str, tmp_path: Path
) -> None:
    session_id, worker = uuid4(), uuid4()
    journal(tmp_path, with_poison(session_id), session_id)
    other = journal(tmp_path, conversation(uuid4()))
    await ship(database_url, tmp_path, worker_id=worker)
    [letter] = stored(database_url, "dead_letters")
    assert (letter["session_id"], letter["worker_id"]) == (session_id, worker)
    assert (letter["sqlstate"], letter["constraint_name"]) == ("23514", "ck_turns_confidence")
    assert json.loads(letter["payload"])["text"] == "Said as number 2."
    assert [said["seq"] for said in stored(database_url, "turns", session_id=session_id)] == [1]
    assert stored(database_url, id=other)[0]["completeness"] == "complete"
    [session] = stored(database_url, id=session_id)
    assert (session["status"], session["completeness"]) == ("completed", "partial")
    assert session["completeness_reason"] == "events refused by the database"


@pytest.mark.parametrize(
    ("poison", "sqlstate"),
    [
        ({"metrics": {"a": "\0"}}, "22P05"),
        ({"text": "a\0b"}, "22000"),
        ({"seq": 2**40}, "22003"),
        ({"text": ""}, "23514"),
    ],
)
async def test_data_that_cannot_be_stored_goes_to_the_dead_letters(
    database_url: str, tmp_path: Path, poison: dict[str, object], sqlstate: str
) -> None:
    session_id = uuid4()
    journal(tmp_path, [started(), turn(session_id, 2, **poison), ended()], session_id)
    await ship(database_url, tmp_path)
    assert [letter["sqlstate"] for letter in stored(database_url, "dead_letters")] == [sqlstate]
    assert stored(database_url)[0]["status"] == "completed"


async def test_one_bad_row_takes_no_batch_with_it(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sessions beside it go at once; of its own, every other row arrives."""
    singly: list[int] = []

    async def counted(db: Db, passage: Passage, *how: Any) -> Outcome:
        singly.append(len(passage.records))
        return await write_singly(db, passage, *how)

    monkeypatch.setattr(shippers, "write_singly", counted)
    session_id = uuid4()
    for number in range(40):
        said = conversation(other := uuid4()) if number else with_poison(session_id)
        journal(tmp_path, said, other if number else session_id)
    await ship(database_url, tmp_path)
    assert len(stored(database_url, status="completed")) == 40
    assert len(stored(database_url, "turns")) == 2 * 39 + 1
    assert len(stored(database_url, "dead_letters")) == len(singly) == 1


async def test_what_is_put_through_and_shipped_again_at_once_waits_one_for_the_other(
    database_url: str, tmp_path: Path
) -> None:
    """Both begin with the session: with a turn first, each would wait for what the other holds."""
    session_id = uuid4()
    events = with_poison(session_id)
    journal(tmp_path, events, session_id)
    await ship(database_url, tmp_path)
    allow(database_url)
    async with (
        await database.connect(database_url, "shipper") as shipping,
        await database.connect(database_url, "retry") as retrying,
        await database.connect(database_url, "watcher") as watching,
    ):
        async with shipping.transaction():
            await search.forget(shipping, session_id)
            retry = asyncio.create_task(deadletters.retry(retrying, nothing))
            waits = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
            pid = retrying.info.backend_pid
            while await (await watching.execute(waits, [pid])).fetchone() != (True,):  # noqa: ASYNC110 Postgres tells nobody
                await asyncio.sleep(0.01)
            await write_event(shipping, session_id, events[2])
        assert await retry == Retried(accepted=1, refused=0)
    assert [said["seq"] for said in stored(database_url, "turns", session_id=session_id)] == [1, 2]


async def test_a_turn_id_that_is_taken_is_refused_by_its_constraint(
    database_url: str, tmp_path: Path
) -> None:
    session_id = uuid4()
    first = turn(session_id, 1)
    again = turn(session_id, 2, turn_id=first.turn_id)
    journal(tmp_path, [started(), first, again, ended()], session_id)
    await ship(database_url, tmp_path)
    [letter] = stored(database_url, "dead_letters")
    assert (letter["sqlstate"], letter["constraint_name"]) == ("23505", "pk_turns")


async def test_a_refused_start_leaves_a_session_that_goes_on(
    database_url: str, tmp_path: Path
) -> None:
    session_id = uuid4()
    events: list[Event] = [
        started(job_id="a\0b"),
        turn(session_id, 1),
        marker(session_id, 2),
        ended(),
    ]
    journal(tmp_path, events, session_id)
    await ship(database_url, tmp_path)
    [session] = stored(database_url)
    assert (session["status"], session["room_name"]) == ("completed", None)
    assert len(stored(database_url, "turns")) == 1
    assert [letter["kind"] for letter in stored(database_url, "dead_letters")] == ["started"]


async def test_what_was_refused_goes_through_once_the_cause_is_gone(
    database_url: str, tmp_path: Path
) -> None:
    deferred, session_id = Deferred(database_url), uuid4()
    journal(tmp_path, with_poison(session_id), session_id)
    await ship(database_url, tmp_path, after_session=deferred)
    async with await database.connect(database_url, "test") as db:
        assert await deadletters.retry(db, deferred) == Retried(accepted=0, refused=1)
        [letter] = await deadletters.show(db)
        assert (letter.attempts, letter.sqlstate) == (2, "23514")
        allow(database_url)
        assert await deadletters.retry(db, deferred, [uuid4()]) == Retried(0, 0)
        assert await deadletters.retry(db, deferred, [letter.id]) == Retried(1, 0)
        assert await deadletters.count(db) == 0
    assert len(stored(database_url, "turns")) == 2
    [session] = stored(database_url)
    assert (session["completeness"], session["completeness_reason"]) == ("recovered", None)
    assert deferred.sessions == [session_id, session_id]


async def test_however_many_there_are_each_is_tried_once_and_few_are_in_memory(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are refused again stay, and are not tried a second time."""
    monkeypatch.setattr(deadletters, "PAGE_LETTERS", 2)
    session_id = uuid4()
    fine = [turn(session_id, seq, confidence=7) for seq in range(1, 5)]
    bad = [turn(session_id, seq, metrics={"a": "\0"}) for seq in range(5, 8)]
    journal(tmp_path, [started(), *fine, *bad, ended()], session_id)
    await ship(database_url, tmp_path)
    allow(database_url)
    async with await database.connect(database_url, "test") as db:
        assert await deadletters.retry(db, nothing) == Retried(4, 3)
    assert [letter["attempts"] for letter in stored(database_url, "dead_letters")] == [2] * 3


@pytest.mark.parametrize("what", ["session", "speaker", "client"])
async def test_what_was_erased_meanwhile_is_not_put_through(
    database_url: str, tmp_path: Path, what: str
) -> None:
    session_id = uuid4()
    poison = turn(session_id, 2, confidence=7, speaker_identity="client-bea")
    journal(tmp_path, [started(), poison, ended()], session_id)
    await ship(database_url, tmp_path)
    allow(database_url)
    async with await database.connect(database_url, "test") as db:
        if what == "session":
            await tombstones.add_session(db, session_id)
        else:
            identity = "client-bea" if what == "speaker" else "client-anna"
            await tombstones.add_identity(db, identity)
        assert await deadletters.retry(db, nothing) == Retried(accepted=1, refused=0)
    assert stored(database_url, "turns") == []
    assert [stone["dropped"] for stone in stored(database_url, "tombstones")] == [1]


async def test_only_refused_data_is_counted_as_refused(database_url: str, tmp_path: Path) -> None:
    """A database that cannot write keeps the letter as it was, and says so."""
    session_id = uuid4()
    journal(tmp_path, with_poison(session_id), session_id)
    await ship(database_url, tmp_path)
    async with await database.connect(database_url, "test") as db:
        await db.execute("SET default_transaction_read_only = on")
        with pytest.raises(Exception, match="read-only"):
            await deadletters.retry(db, nothing)
    assert [letter["attempts"] for letter in stored(database_url, "dead_letters")] == [1]


async def test_what_a_dead_letter_said_is_found_once_it_is_stored(
    database_url: str, tmp_path: Path
) -> None:
    """Although the session's words had been gathered before."""
    session_id = uuid4()
    journal(tmp_path, with_poison(session_id), session_id)
    await ship(database_url, tmp_path)
    async with await database.connect(database_url, "test") as db:
        assert await search.gather(db) == 1
        allow(database_url)
        await deadletters.retry(db, nothing)
        query, said = search.MATCHING, {"text": "number 2"}
        assert await (await db.execute(query, said)).fetchall() == [(session_id,)]
        assert await search.gather(db) == 1
        assert await (await db.execute(query, said)).fetchall() == [(session_id,)]
