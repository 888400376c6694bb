"""The shipper against a real Postgres: nothing lost, none twice, one session's trouble its own."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from shipping import (
    T0,
    Deferred,
    conversation,
    ended,
    everything,
    execute,
    journal,
    journals,
    marker,
    nothing,
    ship,
    shipping,
    started,
    stored,
    turn,
    until,
)

from agent.local import postgres, postgres_programs
from persistence import batches, database, dead_jobs, migrate, passages, streams, tombstones
from persistence import shipper as shippers
from persistence.deferring import Db
from persistence.events import EndReason, Event, Role, Segment
from persistence.journal import JournalWriter, Reading, glance, is_locked, recover
from persistence.journal.lines import encode
from persistence.shipper import Shipper
from persistence.streams import Streams

ROOMY = 1024**3


async def test_a_conversation_arrives_as_it_was_journaled(
    database_url: str, tmp_path: Path
) -> None:
    worker, session_id = uuid4(), uuid4()
    journal(tmp_path, conversation(session_id), session_id)
    await ship(database_url, tmp_path, worker_id=worker)
    [session] = stored(database_url)
    assert session["id"] == session_id
    assert session["status"] == "completed"
    assert (session["end_reason"], session["completeness"]) == ("client_left", "complete")
    assert (session["duration_seconds"], session["turn_count"]) == (100, 2)
    assert session["last_turn_at"] == T0 + timedelta(seconds=31)
    assert (session["worker_id"], session["client_identity"]) == (worker, "client-anna")
    assert session["user_id"] is None
    first, second = stored(database_url, "turns")
    assert (first["text"], first["seq"], first["role"]) == ("Said as number 1.", 1, "client")
    assert first["metrics"] == {"transcription_delay": 0.2}
    assert first["recorded_at"] == T0 + timedelta(seconds=12)
    assert (second["role"], second["user_id"]) == ("ai", None)
    assert stored(database_url, "session_events")[0]["type"] == "takeover"


async def test_a_journal_goes_once_its_end_is_committed_and_not_before(
    database_url: str, tmp_path: Path
) -> None:
    writer = JournalWriter.create(tmp_path, session_id := uuid4(), max_bytes=ROOMY)
    async with shipping(database_url, tmp_path) as shipper:
        writer.append(started())
        assert await writer.durable(10)
        assert await shipper.flushed(10) == 0
        assert (tmp_path / f"{session_id}.journal").exists()
        writer.append(ended())
        assert await asyncio.to_thread(writer.close, 10)
        assert await shipper.flushed(10) == 0
        assert not (tmp_path / f"{session_id}.journal").exists()


async def test_replayed_twice_the_rows_are_the_same(database_url: str, tmp_path: Path) -> None:
    session_id = uuid4()
    worker = uuid4()
    journal(tmp_path, conversation(session_id), session_id)
    await ship(database_url, tmp_path, worker_id=worker)
    before = everything(database_url)
    for _ in range(2):
        journal(tmp_path, conversation(session_id), session_id)
        await ship(database_url, tmp_path, worker_id=worker)
        assert everything(database_url) == before


async def test_the_end_comes_once_and_defers_jobs_once(database_url: str, tmp_path: Path) -> None:
    deferred, session_id = Deferred(database_url), uuid4()
    for _ in range(3):
        journal(tmp_path, conversation(session_id), session_id)
        await ship(database_url, tmp_path, after_session=deferred)
    assert deferred.sessions == [session_id]


async def test_jobs_that_cannot_be_deferred_do_not_hold_the_end_back(
    database_url: str, tmp_path: Path
) -> None:
    async def taken(db: Db, session_ids: Sequence[UUID]) -> None:
        await db.execute("INSERT INTO installation VALUES (1, '')")

    session_id = journal(tmp_path, [started(), ended()])
    await ship(database_url, tmp_path, after_session=taken)
    assert stored(database_url, id=session_id)[0]["status"] == "completed"


async def test_one_session_whose_jobs_cannot_be_deferred_spoils_it_for_no_other(
    database_url: str, tmp_path: Path
) -> None:
    deferred = Deferred(database_url)
    bad, *good = [journal(tmp_path, [started(), ended()]) for _ in range(5)]

    async def refused_for_one(db: Db, session_ids: Sequence[UUID]) -> None:
        await deferred(db, session_ids)
        if bad in session_ids:
            await db.execute("INSERT INTO installation VALUES (1, '')")

    await ship(database_url, tmp_path, after_session=refused_for_one)
    assert sorted(deferred.sessions) == sorted(good)
    assert {session["status"] for session in stored(database_url)} == {"completed"}


async def test_jobs_are_not_deferred_for_an_end_that_is_rolled_back(
    database_url: str, tmp_path: Path
) -> None:
    """The database goes away in the transaction of the end: neither is there, then both are."""
    deferred = Deferred(database_url)
    cut = 0

    async def cut_off_at_first(db: Db, session_ids: Sequence[UUID]) -> None:
        nonlocal cut
        await deferred(db, session_ids)
        cut += 1
        if cut == 1:
            assert (deferred.sessions, stored(database_url)) == ([], [])
            execute(database_url, "SELECT pg_terminate_backend(%s)", db.info.backend_pid)
            await db.execute("SELECT 1")

    session_id = journal(tmp_path, [started(), ended()])
    await ship(database_url, tmp_path, after_session=cut_off_at_first)
    assert (cut, deferred.sessions) == (2, [session_id])


@pytest.mark.parametrize("first", [turn, marker])
async def test_any_event_can_be_the_first_that_makes_its_session(
    database_url: str, tmp_path: Path, first: Callable[[UUID, int], Event]
) -> None:
    session_id = uuid4()
    journal(tmp_path, [first(session_id, 1), ended()], session_id)
    await ship(database_url, tmp_path)
    assert stored(database_url)[0]["status"] == "completed"


async def test_speech_that_is_not_final_yet_makes_a_session_and_no_turn(
    database_url: str, tmp_path: Path
) -> None:
    said = {"started_at": T0, "ended_at": T0, "at": T0}
    segment = Segment.model_validate(
        {"segment_id": uuid4(), "role": "client", "speaker_identity": "x", "text": "hm", **said}
    )
    writer = JournalWriter.create(tmp_path, uuid4(), max_bytes=ROOMY)
    writer.append(segment)
    assert await writer.durable(10)
    await ship(database_url, tmp_path)
    writer.close(10)
    assert [session["status"] for session in stored(database_url)] == ["active"]
    assert stored(database_url, "turns") == []


@pytest.mark.parametrize("claim", ["id", "identity", "prefixed identity", "prefixed id"])
async def test_a_known_user_is_found_by_what_is_claimed(
    database_url: str, tmp_path: Path, claim: str
) -> None:
    user_id = uuid4()
    execute(database_url, "INSERT INTO users (id, identity) VALUES (%s, 'anna')", user_id)
    claims = {
        "id": str(user_id),
        "identity": "anna",
        "prefixed identity": "client-anna",
        "prefixed id": f"user-{user_id}",
    }
    session_id = uuid4()
    said = turn(session_id, 1, speaker_user=claims[claim])
    journal(tmp_path, [started(client_user=claims[claim]), said, ended()], session_id)
    await ship(database_url, tmp_path)
    assert stored(database_url)[0]["user_id"] == user_id
    assert stored(database_url, "turns")[0]["user_id"] == user_id


async def test_the_ai_is_never_a_user(database_url: str, tmp_path: Path) -> None:
    execute(database_url, "INSERT INTO users (id, identity) VALUES (%s, 'agent')", uuid4())
    session_id = uuid4()
    said = turn(session_id, 1, role=Role.AI, speaker_identity="agent")
    journal(tmp_path, [said, ended()], session_id)
    await ship(database_url, tmp_path)
    assert stored(database_url, "turns")[0]["user_id"] is None


async def test_an_appointment_of_the_room_gives_client_and_coach(
    database_url: str, tmp_path: Path
) -> None:
    client, coach, appointment = uuid4(), uuid4(), uuid4()
    for user, name in ((client, "bea"), (coach, "carl")):
        execute(database_url, "INSERT INTO users (id, identity) VALUES (%s, %s)", user, name)
    execute(
        database_url,
        "INSERT INTO appointments (id, room_name, client_id, coach_id) VALUES (%s, 'room', %s, %s)",
        appointment,
        client,
        coach,
    )
    journal(tmp_path, [started(), ended()])
    await ship(database_url, tmp_path)
    [session] = stored(database_url)
    assert session["appointment_id"] == appointment
    assert (session["user_id"], session["coach_id"]) == (client, coach)


async def test_who_was_unknown_at_first_is_filled_in_by_a_later_event(
    database_url: str, tmp_path: Path
) -> None:
    writer = JournalWriter.create(tmp_path, session_id := uuid4(), max_bytes=ROOMY)
    async with shipping(database_url, tmp_path) as shipper:
        writer.append(started())
        writer.append(turn(session_id, 1))
        assert await writer.durable(10)
        assert await shipper.flushed(10) == 0
        assert stored(database_url)[0]["user_id"] is None
        user_id = uuid4()
        execute(database_url, "INSERT INTO users (id, identity) VALUES (%s, 'anna')", user_id)
        writer.append(turn(session_id, 2))
        assert await writer.durable(10)
        assert await shipper.flushed(10) == 0
        assert stored(database_url)[0]["user_id"] == user_id
        writer.append(ended())
        assert await asyncio.to_thread(writer.close, 10)
        assert await shipper.flushed(10) == 0
    assert [said["user_id"] for said in stored(database_url, "turns")] == [user_id, user_id]


async def test_a_dead_job_under_a_live_worker_is_ended_as_an_error(
    database_url: str, tmp_path: Path
) -> None:
    async with shipping(database_url, tmp_path) as shipper:
        journal(tmp_path, [started(), turn(uuid4(), 1)])
        await until(lambda: not journals(tmp_path))
        assert await shipper.flushed(10) == 0
    [session] = stored(database_url)
    assert (session["status"], session["end_reason"]) == ("cancelled", "error")
    assert session["completeness"] == "recovered"


async def test_speech_that_is_no_turn_yet_takes_a_provisional_end_back(
    database_url: str, tmp_path: Path
) -> None:
    """It makes no row, and is a sign of life all the same."""
    job = JournalWriter.create(tmp_path, uuid4(), max_bytes=ROOMY)
    job.append(started())
    async with shipping(database_url, tmp_path):
        await until(lambda: stored(database_url))
        execute(
            database_url,
            "UPDATE sessions SET status = 'cancelled', end_reason = 'worker_lost',"
            " ended_at = now(), reclaimed_at = now()",
        )
        job.append(
            Segment(
                at=T0,
                segment_id=uuid4(),
                role=Role.CLIENT,
                speaker_identity="client-anna",
                text="I am still here.",
                started_at=T0,
                ended_at=T0,
            )
        )
        await until(lambda: stored(database_url, status="active"))
        await asyncio.to_thread(job.close, 10)


async def test_what_its_job_ended_is_not_read_whole_to_find_that_out(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog of ended sessions has no dead job in it: only one's last line is looked at."""
    taken_over: list[Path] = []

    def recovered(path: Path, reason: EndReason) -> bool:
        taken_over.append(path)
        return recover(path, reason)

    monkeypatch.setattr(dead_jobs, "recover", recovered)
    journal(tmp_path, conversation(uuid4()))
    journal(tmp_path, [started(), ended()])
    left = journal(tmp_path, [started()])
    await ship(database_url, tmp_path)
    assert {path.stem for path in taken_over} == {str(left)}


async def test_a_job_that_died_a_moment_ago_is_ended_before_all_counts_as_shipped(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that stops asks but once: what is not ended then stays open."""
    monkeypatch.setattr(shippers, "_DEAD_JOBS_SECONDS", 3600)
    async with shipping(database_url, tmp_path) as shipper:
        dying = JournalWriter.create(tmp_path, uuid4(), max_bytes=ROOMY)
        dying.append(started())
        assert await dying.durable(10)
        assert await shipper.flushed(10) == 0
        assert (shipper.open_sessions(), stored(database_url)[0]["status"]) == (1, "active")
        await asyncio.to_thread(dying.close, 10)
        assert await shipper.flushed(10) == 0
        assert shipper.open_sessions() == 0
    assert stored(database_url)[0]["end_reason"] == "error"


async def test_a_restart_ends_what_the_worker_left_and_waits_for_its_running_jobs(
    database_url: str, tmp_path: Path
) -> None:
    dead = journal(tmp_path, [started(), turn(uuid4(), 1)])
    running = JournalWriter.create(tmp_path, alive := uuid4(), max_bytes=ROOMY)
    running.append(started())
    assert await running.durable(10)
    async with shipping(database_url, tmp_path) as shipper:
        recovering = asyncio.create_task(shipper.recover_folder())
        await until(lambda: stored(database_url, id=dead, status="cancelled"))
        assert not recovering.done()
        running.append(ended())
        assert await asyncio.to_thread(running.close, 10)
        await asyncio.wait_for(recovering, 20)
        assert await shipper.flushed(10) == 0
    assert stored(database_url, id=dead)[0]["end_reason"] == "worker_lost"
    assert stored(database_url, id=alive)[0]["end_reason"] == "client_left"


async def test_recovery_needs_no_database(tmp_path: Path) -> None:
    journal(tmp_path, [started()])
    shipper = Shipper([tmp_path], "postgresql://nobody@/x?host=/nonexistent", uuid4(), nothing)
    assert await shipper.recover_folder() == 1
    assert shipper.status().unshipped == 2


async def test_a_journal_that_the_disk_lets_nobody_end_holds_up_no_other(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at the start: the worker comes up, ships what it can, and ends it later."""
    stuck, other = journal(tmp_path, [started()]), journal(tmp_path, [started()])
    full = True

    def recovered(path: Path, reason: EndReason) -> bool:
        if full and path.stem == str(stuck):
            raise OSError(errno.ENOSPC, "full")
        return recover(path, reason)

    monkeypatch.setattr(dead_jobs, "recover", recovered)
    monkeypatch.setattr(shippers, "_DEAD_JOBS_SECONDS", 0.05)
    async with shipping(database_url, tmp_path) as shipper:
        assert await shipper.recover_folder() == 1
        await until(lambda: stored(database_url, id=other, status="cancelled"))
        await until(lambda: stored(database_url, id=stuck, status="active"))
        full = False
        await until(lambda: stored(database_url, id=stuck, end_reason="worker_lost"))


async def test_a_journal_that_may_not_be_opened_holds_up_no_other(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be another user's: a console that was run as root in this folder."""
    foreign = journal(tmp_path, [started()])

    def locked(path: Path) -> bool:
        if path.stem == str(foreign):
            raise PermissionError(errno.EACCES, "not yours")
        return is_locked(path)

    monkeypatch.setattr(dead_jobs, "is_locked", locked)
    monkeypatch.setattr(dead_jobs, "recover", recover_unless(foreign))
    mine = journal(tmp_path, [started(), ended()])
    async with shipping(database_url, tmp_path) as shipper:
        assert await shipper.recover_folder() == 0
        await until(lambda: stored(database_url, id=mine, status="completed"))


async def test_a_journal_that_cannot_be_read_is_waited_for_like_any_other_and_holds_up_none(
    database_url: str, tmp_path: Path
) -> None:
    """A worker that stops has to ship the others, and to say that something is left."""
    (tmp_path / f"{uuid4()}.journal").mkdir()
    mine = journal(tmp_path, [started(), ended()])
    async with shipping(database_url, tmp_path) as shipper:
        assert await shipper.flushed(2) == 1
        assert shipper.status().unshipped == 1
    assert stored(database_url, id=mine, status="completed")


async def test_a_journal_that_no_reader_was_made_for_holds_up_no_other(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd, mine = journal(tmp_path, [started()]), journal(tmp_path, [started(), ended()])

    def fails(path: Path, *where: int) -> Reading:
        if path.stem == str(odd):
            raise RecursionError
        return glance(path, *where)

    monkeypatch.setattr(streams, "glance", fails)
    async with shipping(database_url, tmp_path) as shipper:
        await until(lambda: stored(database_url, id=mine, status="completed"))
        assert shipper.status().unshipped


def recover_unless(foreign: UUID) -> Callable[[Path, EndReason], bool]:
    def recovered(path: Path, reason: EndReason) -> bool:
        if path.stem == str(foreign):
            raise PermissionError(errno.EACCES, "not yours")
        return recover(path, reason)

    return recovered


async def test_a_torn_tail_is_counted_and_the_rest_is_stored(
    database_url: str, tmp_path: Path
) -> None:
    session_id = uuid4()
    journal(tmp_path, [started(), turn(session_id, 1)], session_id)
    path = tmp_path / f"{session_id}.journal"
    middle = encode(turn(session_id, 2)).replace(b"number 2", b"number 9")
    path.write_bytes(path.read_bytes() + middle + encode(turn(session_id, 3)) + encode(ended()))
    async with shipping(database_url, tmp_path) as shipper:
        assert await shipper.flushed(10) == 0
        assert shipper.status().damaged_bytes == len(middle)
    assert [said["seq"] for said in stored(database_url, "turns")] == [1, 3]
    assert stored(database_url)[0]["completeness"] == "partial"
    assert stored(database_url)[0]["completeness_reason"] == "journal damaged"


async def test_two_workers_on_one_database_keep_to_their_own(
    database_url: str, tmp_path: Path
) -> None:
    one, two = uuid4(), uuid4()
    first = journal(tmp_path / "one", [started(room_name="1"), ended()])
    second = journal(tmp_path / "two", [started(room_name="2"), ended()])
    async with (
        shipping(database_url, tmp_path / "one", worker_id=one) as a,
        shipping(database_url, tmp_path / "two", worker_id=two) as b,
    ):
        assert await a.flushed(10) + await b.flushed(10) == 0
    assert stored(database_url, id=first)[0]["worker_id"] == one
    assert stored(database_url, id=second)[0]["worker_id"] == two


async def test_a_killed_backend_in_mid_batch_costs_nothing(
    database_url: str, tmp_path: Path
) -> None:
    """Each connection of the shipper is killed at once, a few times over, under load."""
    expected = {}
    for _ in range(6):
        session_id = uuid4()
        turns = (turn(session_id, n) for n in range(1, 80))
        journal(tmp_path, [started(), *turns, ended()], session_id)
        expected[session_id] = 79
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'voice-coach shipper'"
        " AND state <> 'idle'"
    )
    async with (
        shipping(database_url, tmp_path) as shipper,
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as db,
    ):
        killed = 0
        async with asyncio.timeout(30):
            while killed < 3 and journals(tmp_path):
                killed += (await db.execute(kill)).rowcount
                await asyncio.sleep(0)
        assert await shipper.flushed(30) == 0
    assert killed > 0
    counts = dict.fromkeys(expected, 0)
    for said in stored(database_url, "turns"):
        counts[said["session_id"]] += 1
    assert counts == expected


async def test_a_read_only_moment_is_waited_out(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url, autocommit=True) as db:
        name = sql.Identifier(db.info.dbname)
        alter = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
        db.execute(alter.format(name, sql.SQL("on")))
        session_id = journal(tmp_path, [started(), ended()])
        async with shipping(database_url, tmp_path) as shipper:
            assert await shipper.flushed(0.5) == 2
            assert "25006" in (shipper.status().last_error or "")
            db.execute("SET default_transaction_read_only = off")
            db.execute(alter.format(name, sql.SQL("off")))
            assert await shipper.flushed(20) == 0
            assert shipper.status().last_error is None
    assert stored(database_url, id=session_id)[0]["status"] == "completed"
    assert stored(database_url, "dead_letters") == []


async def test_of_a_turn_that_comes_again_the_first_stands(
    database_url: str, tmp_path: Path
) -> None:
    session_id = uuid4()
    again = turn(session_id, 2, item_id="item-1", text="Not this.")
    journal(tmp_path, [started(), turn(session_id, 1), again, turn(session_id, 3)], session_id)
    await ship(database_url, tmp_path)
    assert [row["seq"] for row in stored(database_url, "turns")] == [1, 3]


async def test_a_turn_as_another_version_wrote_it_arrives(
    database_url: str, tmp_path: Path
) -> None:
    session_id = uuid4()
    later = {**turn(session_id, 1).model_dump(mode="json"), "mood": "calm"}
    payload = json.dumps(later).encode()
    path = tmp_path / f"{journal(tmp_path, [started()], session_id)}.journal"
    path.write_bytes(path.read_bytes() + b"%08x %b\n" % (zlib.crc32(payload), payload))
    await ship(database_url, tmp_path)
    [row] = stored(database_url, "turns")
    assert (row["seq"], row["text"]) == (1, "Said as number 1.")
    assert stored(database_url)[0]["completeness"] == "recovered"


@pytest.mark.parametrize("rows", [1, 3])
async def test_batches_that_are_read_ahead_keep_to_the_journals(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(batches, "BATCH_ROWS", rows)
    monkeypatch.setattr(batches, "_SLICE_LINES", 1)
    said = {(session_id := uuid4()): conversation(session_id) for _ in range(5)}
    for session_id, events in said.items():
        journal(tmp_path, events, session_id)
    deferred = Deferred(database_url)
    await ship(database_url, tmp_path, after_session=deferred)
    assert sorted(deferred.sessions) == sorted(said)
    assert len(stored(database_url, "turns")) == 10
    assert {row["completeness"] for row in stored(database_url)} == {"complete"}


async def test_a_batch_is_with_postgres_before_anything_else_is_read(
    database_url: str, tmp_path: Path
) -> None:
    """One that no socket takes at once: what is left of it would wait behind the reading."""
    session_id = uuid4()
    long = [turn(session_id, seq, text="word " * 10_000) for seq in range(1, 50)]
    journal(tmp_path, [started(), *long], session_id)
    [taken] = Streams([tmp_path], uuid4()).take(100, 10**8, 100, 0.0)
    left: list[int] = []
    async with await database.connect(database_url, "test") as db:
        key = await tombstones.key(db)
        await passages.write(
            db, [taken.passage], key, nothing, lambda: left.append(db.pgconn.flush())
        )
    assert left == [0]
    assert len(stored(database_url, "turns")) == 49


async def test_one_sessions_lock_does_not_hold_up_the_others(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody sits on a session's row: that session waits, the rest goes on."""
    stuck, free = uuid4(), uuid4()
    journal(tmp_path, [started()], stuck)
    await ship(database_url, tmp_path)
    monkeypatch.setattr("persistence.database._SETTINGS", "SET lock_timeout = '100ms'")
    journal(tmp_path, [started(), ended()], stuck)
    journal(tmp_path, [started(), ended()], free)
    execute(database_url, "UPDATE sessions SET reclaimed_at = now() WHERE id = %s", stuck)
    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT FROM sessions WHERE id = %s FOR UPDATE", [stuck])
        async with shipping(database_url, tmp_path) as shipper:
            await until(lambda: stored(database_url, id=free, status="completed"))
            assert shipper.status().unshipped
            holder.rollback()
            assert await shipper.flushed(20) == 0
    assert stored(database_url, id=stuck)[0]["reclaimed_at"] is None


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that the server's user can reach, unlike pytest's own when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="voice-coach-test-", dir="/tmp") as place:
        Path(place).chmod(0o755)
        yield Path(place)


async def test_a_restart_of_postgres_is_waited_out(tmp_path: Path) -> None:
    with reachable_folder() as place:
        data = place / "postgres"
        postgres._initialise(postgres_programs.folder(), data, sync=False)
        server = await asyncio.to_thread(postgres.start, data)
        await asyncio.to_thread(migrate.upgrade, server.url)
        journal(tmp_path, [started(), ended()])
        async with shipping(server.url, tmp_path) as shipper:
            assert await shipper.flushed(20) == 0
            server.stop()
            journal(tmp_path, [started(), ended()])
            assert await shipper.flushed(0.3) == 2
            server = await asyncio.to_thread(postgres.start, data)
            assert await shipper.flushed(20) == 0
        assert len(stored(server.url)) == 2
        server.stop()


async def test_without_a_database_all_is_kept_and_counted(tmp_path: Path) -> None:
    journal(tmp_path, [started(), ended()])
    nowhere = "postgresql://nobody@/x?host=/nonexistent"
    async with shipping(nowhere, tmp_path) as shipper:
        assert await shipper.flushed(0.3) == 2
        status = shipper.status()
    assert (status.connected, status.unshipped) == (False, 2)
    assert status.last_error == "OperationalError"
    assert status.oldest_seconds > 0


async def test_a_role_with_grants_alone_ships(database_url: str, tmp_path: Path) -> None:
    role = "coach-runtime"
    execute(database_url, f'CREATE ROLE "{role}" LOGIN')
    try:
        migrate.grant(database_url, role)
        session_id = uuid4()
        poison = turn(session_id, 2, confidence=7)
        journal(tmp_path, [started(), turn(session_id, 1), poison, ended()], session_id)
        await ship(database_url.replace("//postgres@", f"//{role}@"), tmp_path)
        assert stored(database_url, id=session_id)[0]["status"] == "completed"
        assert len(stored(database_url, "dead_letters")) == 1
    finally:
        execute(database_url, f'DROP OWNED BY "{role}"')
        execute(database_url, f'DROP ROLE "{role}"')


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.integers(min_value=0, max_value=6), min_size=1, max_size=4))
def test_any_interleaving_of_replays_gives_the_same_rows(
    database_url: str, tmp_path: Path, shares: list[int]
) -> None:
    """However often a journal is read from its start, and however far each time."""
    execute(database_url, "TRUNCATE sessions, dead_letters CASCADE")
    session_id, worker = UUID(int=7), UUID(int=8)
    poison = turn(session_id, 5, confidence=7)
    events = [*conversation(session_id)[:-1], poison, ended()]

    async def replay() -> None:
        path = tmp_path / f"{session_id}.journal"
        for share in shares:
            journal(tmp_path, events[:share], session_id)
            with path.open("rb") as job:
                fcntl.flock(job, fcntl.LOCK_EX)  # as long as it is held nobody else ends it
                await ship(database_url, tmp_path, worker_id=worker)
        journal(tmp_path, events, session_id)
        await ship(database_url, tmp_path, worker_id=worker)

    asyncio.run(replay())
    held = everything(database_url)
    assert [said["seq"] for said in held["turns"]] == [1, 3]
    assert [said["seq"] for said in held["session_events"]] == [2]
    assert [letter["attempts"] for letter in held["dead_letters"]] == [1]
    [session] = held["sessions"]
    assert (session["status"], session["turn_count"]) == ("completed", 2)
    assert session["completeness_reason"] == "events refused by the database"
    assert session["end_reason"] == EndReason.CLIENT_LEFT
