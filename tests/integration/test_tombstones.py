"""What was erased, or is off the record, does not come in: not first, not again."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from shipping import (
    conversation,
    ended,
    journal,
    journals,
    ship,
    shipping,
    started,
    stored,
    turn,
    until,
    value,
)

from persistence import database, tombstones
from persistence.events import Role


async def erase(url: str, *, session_id: UUID | None = None, identity: str | None = None) -> None:
    async with await database.connect(url, "test") as db, db.transaction():
        if session_id:
            await tombstones.add_session(db, session_id)
        if identity:
            await tombstones.add_identity(db, identity)
        await db.execute("DELETE FROM sessions")


def dropped(url: str) -> list[int]:
    return [stone["dropped"] for stone in stored(url, "tombstones")]


async def test_an_erased_session_does_not_come_in(database_url: str, tmp_path: Path) -> None:
    session_id = uuid4()
    await erase(database_url, session_id=session_id)
    journal(tmp_path, conversation(session_id), session_id)
    other = journal(tmp_path, conversation(uuid4()))
    async with shipping(database_url, tmp_path) as shipper:
        assert await shipper.flushed(10) == 0
        assert shipper.status().dropped == 5
    assert [session["id"] for session in stored(database_url)] == [other]
    assert dropped(database_url) == [5]
    assert journals(tmp_path) == []


async def test_an_erased_session_does_not_come_back_on_replay(
    database_url: str, tmp_path: Path
) -> None:
    session_id = uuid4()
    journal(tmp_path, conversation(session_id), session_id)
    await ship(database_url, tmp_path)
    await erase(database_url, session_id=session_id)
    journal(tmp_path, conversation(session_id), session_id)
    await ship(database_url, tmp_path)
    assert stored(database_url) == stored(database_url, "turns") == []


@pytest.mark.parametrize("known_as", ["client-anna", "anna", "user-7"])
async def test_a_session_of_an_erased_client_does_not_come_in(
    database_url: str, tmp_path: Path, known_as: str
) -> None:
    """Not even what the AI said to them; by any name that they are known by."""
    await erase(database_url, identity=known_as)
    session_id = uuid4()
    said = turn(session_id, 1, role=Role.AI, speaker_identity="agent")
    journal(tmp_path, [started(client_user="user-7"), said, ended()], session_id)
    await ship(database_url, tmp_path)
    assert stored(database_url) == stored(database_url, "turns") == []
    assert dropped(database_url) == [3]


async def test_of_an_erased_coach_only_what_they_said_is_dropped(
    database_url: str, tmp_path: Path
) -> None:
    await erase(database_url, identity="coach-carl")
    session_id = uuid4()
    coach = turn(session_id, 2, role=Role.COACH, speaker_identity="coach-carl")
    journal(tmp_path, [started(), turn(session_id, 1), coach, ended()], session_id)
    await ship(database_url, tmp_path)
    assert [said["seq"] for said in stored(database_url, "turns")] == [1]
    assert dropped(database_url) == [1]


async def test_of_a_poisoned_batch_the_erased_part_is_dropped_too(
    database_url: str, tmp_path: Path
) -> None:
    await erase(database_url, identity="coach-carl")
    session_id = uuid4()
    coach = turn(session_id, 2, role=Role.COACH, speaker_identity="coach-carl")
    poison = turn(session_id, 3, confidence=7)
    journal(tmp_path, [started(), turn(session_id, 1), coach, poison, ended()], session_id)
    await ship(database_url, tmp_path)
    assert [said["seq"] for said in stored(database_url, "turns")] == [1]
    assert [letter["kind"] for letter in stored(database_url, "dead_letters")] == ["turn"]
    assert dropped(database_url) == [1]


async def test_the_table_does_not_tell_who_was_erased(database_url: str) -> None:
    await erase(database_url, identity="client-anna")
    [stone] = stored(database_url, "tombstones")
    assert b"anna" not in stone["identity_hash"]
    async with await database.connect(database_url, "test") as db:
        assert stone["identity_hash"] == tombstones.hashed("client-anna", await tombstones.key(db))
        assert stone["identity_hash"] != tombstones.hashed("client-anna", b"another key")


async def test_an_erasure_and_a_write_at_once_leave_nothing_behind(
    database_url: str, tmp_path: Path
) -> None:
    """The shipper waits for an erasure that has begun, and then drops what was erased."""
    session_id = uuid4()
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with shipping(database_url, tmp_path) as shipper:
        async with await database.connect(database_url, "test") as eraser, eraser.transaction():
            await tombstones.add_session(eraser, session_id)
            journal(tmp_path, conversation(session_id), session_id)
            await until(lambda: value(database_url, waiting) == 1)
        assert await shipper.flushed(20) == 0
    assert stored(database_url) == []


async def test_erasing_twice_is_no_error(database_url: str) -> None:
    session_id = uuid4()
    for _ in range(2):
        await erase(database_url, session_id=session_id, identity="client-anna")
    assert len(stored(database_url, "tombstones")) == 2
