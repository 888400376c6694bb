"""Leases and reclaims: who is gone is ended, who lives is left alone, however the two cross."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import chain
from pathlib import Path
from uuid import UUID, uuid4

import psutil
import psycopg
import pytest
from shipping import (
    T0,
    Deferred,
    ended,
    execute,
    journal,
    nothing,
    ship,
    shipping,
    started,
    stored,
    turn,
    until,
    value,
)

from persistence import database, deadletters, landings, liveness, sessions
from persistence.deadletters import Retried
from persistence.events import Event
from persistence.journal import JournalWriter
from persistence.liveness import AfterReclaim, Lease, Usage

ROOMY = 1024**3


def lease(url: str, worker: UUID, lapsed: Callable[[], None] = lambda: None) -> Lease:
    return Lease(url, worker, seconds=60, renewal_seconds=10, lapsed=lapsed)


async def renew(url: str, worker: UUID) -> None:
    holder = lease(url, worker)
    await holder.renew()
    await holder._disconnect()


async def reclaim(url: str, after: AfterReclaim = nothing) -> list[UUID]:
    async with await database.connect(url, "test") as db:
        return await liveness.reclaim(db, after)


def run_out(url: str) -> None:
    execute(url, "UPDATE worker_leases SET expires_at = now() - interval '1 s'")


async def live_session(
    url: str, folder: Path, worker: UUID, *events: Event
) -> tuple[UUID, JournalWriter]:
    """A session that its job has begun and not ended, shipped as far as it goes."""
    writer = JournalWriter.create(folder, session_id := uuid4(), max_bytes=ROOMY)
    for event in (started(), *events):
        writer.append(event)
    assert await writer.durable(10)
    await ship(url, folder, worker_id=worker)
    return session_id, writer


def refused() -> Usage:
    """As psutil where /proc of others is hidden (hidepid=1)."""
    raise psutil.AccessDenied(1)


async def test_a_lease_is_renewed_where_nothing_can_be_measured(database_url: str) -> None:
    """What a worker uses is told for people; sessions are not lost over it."""
    holder = Lease(
        database_url, uuid4(), seconds=60, renewal_seconds=10, lapsed=lambda: None, usage=refused
    )
    await holder.renew()
    await holder._disconnect()
    memory = value(database_url, "SELECT memory_bytes FROM worker_leases WHERE expires_at > now()")
    assert memory is None


async def test_a_measurement_that_hangs_holds_up_no_lease_and_takes_one_thread(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "USAGE_SECONDS", 0.01)
    begun, over = [], threading.Event()

    def hang() -> Usage:
        begun.append(1)
        over.wait()
        return Usage(1, 1.0)

    holder = Lease(
        database_url, uuid4(), seconds=60, renewal_seconds=10, lapsed=lambda: None, usage=hang
    )
    try:
        await holder.renew()
        await holder.renew()
    finally:
        over.set()
        await holder._disconnect()
    assert len(begun) == 1
    assert holder.held.is_set()


async def test_a_session_is_left_alone_while_its_workers_lease_lives(
    database_url: str, tmp_path: Path
) -> None:
    """However long it runs: only the lease counts."""
    worker = uuid4()
    _, writer = await live_session(database_url, tmp_path, worker)
    await renew(database_url, worker)
    execute(database_url, "UPDATE sessions SET started_at = now() - interval '3 days'")
    assert await reclaim(database_url) == []
    writer.close(10)


async def test_a_session_without_a_live_worker_is_ended_up_to_its_last_sign_of_life(
    database_url: str, tmp_path: Path
) -> None:
    deferred, worker = Deferred(database_url), uuid4()
    said = turn(uuid4(), 1)
    session_id, writer = await live_session(database_url, tmp_path, worker, said)
    await renew(database_url, worker)
    execute(
        database_url,
        "UPDATE worker_leases SET renewed_at = %s, expires_at = now()",
        T0 + timedelta(minutes=1),
    )
    assert await reclaim(database_url, deferred) == [session_id]
    [session] = stored(database_url)
    assert (session["status"], session["end_reason"]) == ("cancelled", "worker_lost")
    assert session["ended_at"] == T0 + timedelta(minutes=1)
    assert (session["duration_seconds"], session["turn_count"]) == (60, 1)
    assert (session["completeness"], session["completeness_reason"]) == ("partial", "worker lost")
    assert session["reclaimed_at"] is not None
    assert deferred.sessions == [session_id]
    assert deferred.delays == [timedelta(minutes=15)]
    assert await reclaim(database_url, deferred) == []
    writer.close(10)


async def test_a_reclaimed_session_never_lasts_over_two_hours(
    database_url: str, tmp_path: Path
) -> None:
    worker = uuid4()
    _, writer = await live_session(database_url, tmp_path, worker)
    await renew(database_url, worker)
    run_out(database_url)
    await reclaim(database_url)
    assert stored(database_url)[0]["duration_seconds"] == 120 * 60
    writer.close(10)


async def test_who_follows_hears_of_a_reclaim_and_of_its_being_taken_back(
    database_url: str, tmp_path: Path
) -> None:
    session_id, writer = await live_session(database_url, tmp_path, uuid4())
    async with await database.connect(database_url, "test") as ear:
        await landings.listen(ear)
        assert await reclaim(database_url) == [session_id]
        assert await landings.heard(ear, within=10) == {session_id}
        async with await database.connect(database_url, "test") as db:
            await sessions.take_back(db, [session_id])
        assert await landings.heard(ear, within=10) == {session_id}
    writer.close(10)


async def test_a_worker_that_never_took_a_lease_counts_as_gone(
    database_url: str, tmp_path: Path
) -> None:
    session_id, writer = await live_session(database_url, tmp_path, uuid4(), turn(uuid4(), 1))
    assert await reclaim(database_url) == [session_id]
    assert stored(database_url)[0]["ended_at"] == T0 + timedelta(seconds=11)
    writer.close(10)


async def test_a_start_that_is_put_through_again_is_no_sign_of_life(
    database_url: str, tmp_path: Path
) -> None:
    """A dead letter is of a worker that may long be gone: what ended is not alive for it."""
    execute(database_url, "ALTER TABLE sessions ADD CHECK (room_name <> 'room')")
    session_id, writer = await live_session(database_url, tmp_path, uuid4(), turn(uuid4(), 1))
    assert await reclaim(database_url) == [session_id]
    execute(database_url, "ALTER TABLE sessions DROP CONSTRAINT sessions_room_name_check")
    async with await database.connect(database_url, "test") as db:
        assert await deadletters.retry(db, nothing) == Retried(accepted=1, refused=0)
    [session] = stored(database_url)
    assert (session["status"], session["room_name"]) == ("cancelled", "room")
    assert session["reclaimed_at"] is not None
    writer.close(10)


async def test_a_session_of_no_worker_is_somebody_elses(database_url: str) -> None:
    execute(database_url, "INSERT INTO sessions (id, started_at) VALUES (gen_random_uuid(), now())")
    assert await reclaim(database_url) == []


async def test_two_workers_keep_to_their_own(database_url: str, tmp_path: Path) -> None:
    """Of two workers one is gone: only its sessions are reclaimed."""
    here, gone = uuid4(), uuid4()
    _, kept = await live_session(database_url, tmp_path / "here", here)
    lost, left = await live_session(database_url, tmp_path / "gone", gone)
    await renew(database_url, gone)
    run_out(database_url)
    await renew(database_url, here)
    assert await reclaim(database_url) == [lost]
    kept.close(10)
    left.close(10)


async def test_an_owner_that_was_cut_off_brings_its_session_back_with_its_next_event(
    database_url: str, tmp_path: Path
) -> None:
    worker = uuid4()
    session_id, writer = await live_session(database_url, tmp_path, worker)
    assert await reclaim(database_url) == [session_id]
    async with shipping(database_url, tmp_path, worker_id=worker) as shipper:
        writer.append(turn(session_id, 1))
        assert await writer.durable(10)
        assert await shipper.flushed(10) == 0
    [session] = stored(database_url)
    assert session["status"] == "active"
    assert {
        session[name]
        for name in ("ended_at", "end_reason", "reclaimed_at", "completeness", "turn_count")
    } == {None}
    writer.close(10)


async def test_the_true_end_replaces_a_provisional_one(database_url: str, tmp_path: Path) -> None:
    deferred, worker = Deferred(database_url), uuid4()
    session_id, writer = await live_session(database_url, tmp_path, worker)
    await reclaim(database_url)
    writer.append(ended(90))
    assert await asyncio.to_thread(writer.close, 10)
    await ship(database_url, tmp_path, worker_id=worker, after_session=deferred)
    [session] = stored(database_url)
    assert (session["status"], session["end_reason"]) == ("completed", "client_left")
    assert (session["duration_seconds"], session["completeness"]) == (90, "complete")
    assert session["reclaimed_at"] is None
    assert deferred.sessions == [session_id]


async def test_a_true_end_is_never_reclaimed(database_url: str, tmp_path: Path) -> None:
    journal(tmp_path, [started(), ended()])
    await ship(database_url, tmp_path)
    assert await reclaim(database_url) == []


async def test_a_lapsed_lease_brings_quiet_sessions_back(database_url: str, tmp_path: Path) -> None:
    """Nobody says a word, but the worker is there again: that is enough."""
    worker = uuid4()
    session_id, writer = await live_session(database_url, tmp_path, worker)
    async with shipping(database_url, tmp_path, worker_id=worker) as shipper:
        assert await shipper.flushed(10) == 0
        holder = lease(database_url, worker)
        await holder.renew()
        holder._lapsed = shipper.reassert
        run_out(database_url)
        assert await reclaim(database_url) == [session_id]
        await holder.renew()
        await until(lambda: stored(database_url)[0]["status"] == "active")
        await holder._disconnect()
    assert await reclaim(database_url) == []
    writer.close(10)


async def test_a_lease_that_was_renewed_in_time_has_not_lapsed(database_url: str) -> None:
    lapses: list[int] = []
    holder = lease(database_url, uuid4(), lambda: lapses.append(1))
    await holder.renew()
    assert len(lapses) == 1  # the first: what was reclaimed before this worker is not known
    await holder.renew()
    assert len(lapses) == 1
    run_out(database_url)
    await holder.renew()
    assert len(lapses) == 2
    await holder._disconnect()


async def test_a_renewal_that_crosses_a_reclaim_waits_for_it_and_learns_of_it(
    database_url: str, tmp_path: Path
) -> None:
    """Even one that began before the lease ran out: the reclaim was first at the lock."""
    worker = uuid4()
    session_id, writer = await live_session(database_url, tmp_path, worker)
    lapses: list[int] = []
    holder = lease(database_url, worker, lambda: lapses.append(1))
    await renew(database_url, worker)
    renewing: list[asyncio.Task[None]] = []

    async def renew_meanwhile(db: object, reclaimed: object, *, delay: timedelta) -> None:
        renewing.append(asyncio.create_task(holder.renew()))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await until(lambda: value(database_url, waiting) == 1)
        assert lapses == []

    async with await database.connect(database_url, "test") as db, db.transaction():
        await db.execute("SELECT now()")  # from here on, for this transaction, it is that late
        execute(database_url, "UPDATE worker_leases SET expires_at = clock_timestamp()")
        holder._db = db
        assert await reclaim(database_url, renew_meanwhile) == [session_id]
        await renewing[0]
    assert len(lapses) == 1
    writer.close(10)


@pytest.mark.parametrize("known", [True, False])
async def test_a_reclaim_that_crosses_a_renewal_leaves_the_session_alone(
    database_url: str, tmp_path: Path, *, known: bool
) -> None:
    """The lease that it found run out, or missing, is being renewed at that moment."""
    worker = uuid4()
    _, writer = await live_session(database_url, tmp_path, worker)
    if known:
        await renew(database_url, worker)
        run_out(database_url)
    async with await database.connect(database_url, "test") as db, db.transaction():
        holder = lease(database_url, worker)
        holder._db = db
        await holder.renew()
        reclaiming = asyncio.create_task(reclaim(database_url))
        await asyncio.wait([reclaiming], timeout=0.3)
    assert await reclaiming == []
    writer.close(10)


async def test_reclaimers_at_once_take_each_session_once(database_url: str, tmp_path: Path) -> None:
    deferred = Deferred(database_url)
    writers = [await live_session(database_url, tmp_path / str(n), uuid4()) for n in range(4)]
    taken = await asyncio.gather(*(reclaim(database_url, deferred) for _ in range(4)))
    assert sorted(chain.from_iterable(taken)) == sorted(session_id for session_id, _ in writers)
    assert len(deferred.sessions) == 4
    for _, writer in writers:
        writer.close(10)


async def test_a_released_lease_is_over_at_once(database_url: str, tmp_path: Path) -> None:
    worker = uuid4()
    session_id, writer = await live_session(database_url, tmp_path, worker)
    holder = lease(database_url, worker)
    await holder.renew()
    await holder.release()
    assert stored(database_url, "worker_leases")[0]["stopped_at"] is not None
    assert await reclaim(database_url) == [session_id]
    await holder._disconnect()
    writer.close(10)


async def test_a_lease_outlives_a_database_that_was_away(database_url: str) -> None:
    """Its connection is cut; the next renewal is on a new one."""
    worker = uuid4()
    holder = Lease(database_url, worker, seconds=60, renewal_seconds=0.05, lapsed=lambda: None)
    running = asyncio.create_task(holder.run())
    await asyncio.wait_for(holder.held.wait(), 20)
    kill = "SELECT pg_terminate_backend(%s)"
    assert holder._db is not None
    execute(database_url, kill, holder._db.info.backend_pid)
    execute(database_url, "DELETE FROM worker_leases")
    await until(lambda: stored(database_url, "worker_leases", worker_id=worker))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_reasserting_a_session_that_has_ended_changes_nothing(
    database_url: str, tmp_path: Path
) -> None:
    journal(tmp_path, [started(), ended()])
    async with shipping(database_url, tmp_path) as shipper:
        assert await shipper.flushed(10) == 0
        shipper.reassert()
        assert await shipper.flushed(10) == 0
    assert stored(database_url)[0]["status"] == "completed"


async def test_quiet_sessions_come_back_even_where_the_first_try_fails(
    database_url: str, tmp_path: Path
) -> None:
    worker = uuid4()
    _, writer = await live_session(database_url, tmp_path, worker)
    name = value(database_url, "SELECT current_database()")
    async with shipping(database_url, tmp_path, worker_id=worker) as shipper:
        assert await shipper.flushed(10) == 0
        await until(lambda: shipper.status().connected)
        await reclaim(database_url)
        execute(database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        execute(
            database_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'voice-coach shipper' AND datname = current_database()",
        )
        shipper.reassert()
        await until(lambda: "25006" in (shipper.status().last_error or ""))
        with psycopg.connect(database_url, autocommit=True) as db:
            db.execute("SET default_transaction_read_only = off")
            db.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await until(lambda: stored(database_url)[0]["status"] == "active")
    writer.close(10)


async def test_many_sessions_are_reclaimed_a_few_at_a_time(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went before is committed: no lease and no session is locked for long."""
    monkeypatch.setattr(liveness, "SESSIONS_AT_ONCE", 2)
    worker = uuid4()
    alive = [await live_session(database_url, tmp_path, worker) for _ in range(5)]
    await renew(database_url, worker)
    run_out(database_url)
    portions: list[tuple[int, int]] = []

    async def look(db: object, ids: Sequence[UUID], /, *, delay: timedelta) -> None:
        committed = "SELECT count(*) FROM sessions WHERE status = 'cancelled'"
        portions.append((len(ids), value(database_url, committed)))

    assert len(await reclaim(database_url, look)) == 5
    assert portions == [(2, 0), (2, 2), (1, 4)]
    for _, writer in alive:
        writer.close(10)
