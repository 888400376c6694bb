"""What a worker finds when it starts holds it up for a while at most."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from shipping import T0, conversation, journal, ship, started, stored, turn, until, value

from agent.settings import Settings
from agent.worker import estate as estates
from agent.worker.background import running
from agent.worker.estate import Estate
from persistence.events import Role, Segment
from persistence.journal import JournalWriter

ROOMY = 1024**3


async def job_of_another_life(folder: Path, session_id: UUID) -> JournalWriter:
    """A job whose worker is dead and that does not end: it hangs, and keeps its lock."""
    writer = JournalWriter.create(folder, session_id, max_bytes=ROOMY)
    for event in (started(), turn(session_id, 1)):
        writer.append(event)
    assert await writer.durable(10)
    return writer


async def test_a_job_that_hangs_after_its_workers_death_keeps_no_worker_from_starting(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has said is stored meanwhile, and its session ends when it is dead."""
    monkeypatch.setattr(estates, "PREDECESSOR_SECONDS", 0.05)
    session_id = uuid4()
    hung = await job_of_another_life(tmp_path / str(uuid4()), session_id)
    settings = Settings(database_url=database_url, journal_dir=tmp_path, run_jobs=False)
    async with Estate.claimed(settings) as estate:
        await estate.recover()
        async with running(estate.tasks()):
            await until(lambda: value(database_url, "SELECT count(*) FROM turns") == 1)
            assert value(database_url, "SELECT status FROM sessions") == "active"
            hung.close(10)
            await until(lambda: value(database_url, "SELECT status FROM sessions") == "cancelled")
    assert value(database_url, "SELECT end_reason FROM sessions") == "worker_lost"


async def test_a_folder_with_a_job_that_hangs_holds_up_no_other(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both belonged to workers that never came back; the first of them has the job."""
    monkeypatch.setattr(estates, "PREDECESSOR_SECONDS", 0.05)
    own, first, second = sorted(uuid4() for _ in range(3))
    settings = Settings(
        database_url=database_url,
        journal_dir=tmp_path,
        journal_folder=tmp_path / str(own),
        run_jobs=False,
        ship_seconds=0.5,
    )
    hung = await job_of_another_life(tmp_path / str(first), uuid4())
    dead = await job_of_another_life(tmp_path / str(second), uuid4())
    dead.close(10)
    async with Estate.claimed(settings) as estate, running(estate.tasks()):
        over = "SELECT count(*) FROM sessions WHERE status <> 'active'"
        await until(lambda: value(database_url, over) == 1)
    hung.close(10)


async def test_a_worker_that_stops_before_all_is_in_postgres_keeps_its_lease(
    database_url: str, tmp_path: Path
) -> None:
    """A session that still runs would be taken for a lost one's: it lives as long as the lease."""
    settings = Settings(
        database_url=database_url, journal_dir=tmp_path, run_jobs=False, ship_seconds=0.1
    )
    lease = "SELECT stopped_at IS NULL AND expires_at > now() FROM worker_leases"
    async with Estate.claimed(settings) as estate:
        hung = await job_of_another_life(estate.folder.path, uuid4())
        async with running(estate.tasks()):
            await estate.known_alive()
            await until(lambda: value(database_url, "SELECT count(*) FROM turns") == 1)
            assert await estate.flush(hurried=asyncio.Event()) == 1
    assert value(database_url, lease) is True
    hung.close(10)


async def test_a_journal_that_cannot_be_finished_holds_up_no_other(
    database_url: str, tmp_path: Path
) -> None:
    """Times without a zone are not ours, and cannot be put into an order with others."""
    session_id, naive = uuid4(), T0.replace(tzinfo=None)
    odd = (segment(start) for start in (naive, T0))
    journal(tmp_path, [started(), turn(session_id, 1), *odd], session_id)
    other = journal(tmp_path, conversation(uuid4()))
    await ship(database_url, tmp_path)
    assert stored(database_url, id=other)[0]["status"] == "completed"
    assert stored(database_url, id=session_id)[0]["status"] == "active"


def segment(start: datetime) -> Segment:
    return Segment(
        at=T0,
        segment_id=uuid4(),
        role=Role.CLIENT,
        speaker_identity="client-anna",
        text="words",
        started_at=start,
        ended_at=start,
    )
