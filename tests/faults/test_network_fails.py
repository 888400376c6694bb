"""The network to Postgres is slow, resets, swallows, closes late: the true story wins.

A black hole here acknowledges what it swallows: no time-out of TCP's notices it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest
from broken_postgres import WITHIN, all_stored, until, working
from pydantic import SecretStr
from structlog.testing import capture_logs
from truth import Talk, arrived, wrong

from agent.jobs import runner
from agent.local import toxiproxy
from agent.local.chaos.database import Database
from agent.local.toxiproxy import Proxy, Stream
from agent.settings import Settings
from agent.worker.estate import Estate
from persistence import database as databases
from persistence import shipper
from persistence.database import BoundedConnection, connect, translated
from persistence.errors import DatabaseUnavailableError

SOON = 0.5
"""What a wait for an answer is shortened to, in seconds."""
BLACK_HOLE = (toxiproxy.black_hole("upstream"), toxiproxy.black_hole("downstream"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that are given up sooner than in production."""
    monkeypatch.setattr(shipper, "ANSWER_SECONDS", SOON)
    monkeypatch.setattr(databases, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(databases, "CHECK_SECONDS", SOON)
    monkeypatch.setattr(databases, "POOL_SECONDS", 2 * SOON)


def failing(estate: Estate) -> bool:
    return estate.shipper.status().last_error is not None


def provisional_ends(database: Database) -> int:
    return len(database.query("SELECT FROM chaos_ends WHERE provisional"))


async def test_a_wait_for_an_answer_that_is_swallowed_ends(database: Database, way: Proxy) -> None:
    """In the middle of a transaction, of a pipeline in it, and alone."""
    for inside in ("transaction", "pipeline", "nothing"):
        async with await connect(database.url(way.port), "test", answer_seconds=SOON) as db:
            with way.hurt(*BLACK_HOLE), pytest.raises(psycopg.OperationalError):
                async with asyncio.timeout(WITHIN):
                    await ask(db, inside)
            assert db.closed


async def ask(db: BoundedConnection, inside: str) -> None:
    match inside:
        case "transaction":
            async with db.transaction():
                await db.execute("SELECT 1")
        case "pipeline":
            async with db.transaction(), db.pipeline():
                await db.execute("SELECT 1")
                await db.execute("SELECT 2")
        case _:
            await db.execute("SELECT 1")


async def test_a_slow_answer_is_no_lost_one(database: Database, way: Proxy) -> None:
    async with await connect(database.url(way.port), "test", answer_seconds=5) as db:
        with way.hurt(toxiproxy.latency(0.2)):
            found = await (await db.execute("SELECT 1 FROM pg_sleep(0.2)")).fetchone()
    assert found == (1,)


async def test_a_black_hole_longer_than_the_lease_ends_with_the_true_story(
    database: Database, way: Proxy, tmp_path: Path, impatient: None
) -> None:
    """Another worker ends the sessions provisionally; end, duration and receipt are the journal's.

    One session goes on behind the black hole, one ends in it; the jobs of each run once.
    """
    async with (
        working(database, way.port, tmp_path / "cut-off") as estate,
        working(database, database.port, tmp_path / "rival"),
    ):
        talks = [Talk.begin(estate.folder.path, f"client-{n}").exchange(3) for n in range(2)]
        await arrived(database, *talks)
        with way.hurt(*BLACK_HOLE):
            talks[0].exchange()
            talks[1].exchange().end()
            await until(lambda: provisional_ends(database) == len(talks))
            assert failing(estate)
        talks[0].exchange().end()
        await all_stored(estate)
    assert await wrong(database, talks, reclaimable=True) == []


@pytest.mark.full
async def test_a_black_hole_shorter_than_the_lease_costs_nobody_a_session(
    database: Database, way: Proxy, tmp_path: Path, impatient: None
) -> None:
    async with (
        working(database, way.port, tmp_path / "cut-off", lease_seconds=20) as estate,
        working(database, database.port, tmp_path / "rival"),
    ):
        talk = Talk.begin(estate.folder.path).exchange(3)
        await arrived(database, talk)
        with way.hurt(*BLACK_HOLE):
            talk.exchange()
            await until(lambda: failing(estate))
        renewed = estate.lease.renewed_at
        await until(lambda: estate.lease.renewed_at != renewed)
        talk.exchange().end()
        await all_stored(estate)
    assert provisional_ends(database) == 0
    assert await wrong(database, [talk]) == []


async def test_a_connection_cut_anywhere_in_a_batch_loses_and_doubles_nothing(
    database: Database, way: Proxy, tmp_path: Path
) -> None:
    """After so many bytes to Postgres, or from it: a commit may be done, and nobody told."""
    cuts = 0
    sizes: dict[Stream, tuple[int, ...]] = {
        "upstream": (50, 900, 4_000, 8_000),
        "downstream": (5, 60, 300),
    }
    async with working(database, way.port, tmp_path, lease_seconds=60) as estate:
        talks = [Talk.begin(estate.folder.path, f"client-{n}") for n in range(3)]
        for stream, of_stream in sizes.items():
            for size in of_stream:
                with way.hurt(toxiproxy.limit_data(size, stream)):
                    for talk in talks:
                        talk.exchange(3)
                    await until(lambda: failing(estate) or not estate.shipper.status().unshipped)
                    cuts += failing(estate)
                await estate.shipper.flushed(WITHIN)
        for talk in talks:
            talk.end()
        await all_stored(estate)
    assert cuts > 3
    assert await wrong(database, talks) == []


@pytest.mark.full
@pytest.mark.parametrize(
    "toxics",
    [
        pytest.param([toxiproxy.latency(0.2, 0.1)], id="latency"),
        pytest.param(
            [toxiproxy.bandwidth(20, "upstream"), toxiproxy.bandwidth(20)], id="bandwidth"
        ),
    ],
)
async def test_a_slow_network_only_takes_longer(
    toxics: list[toxiproxy.Toxic], database: Database, way: Proxy, tmp_path: Path
) -> None:
    async with working(database, way.port, tmp_path, lease_seconds=60) as estate:
        with way.hurt(*toxics):
            talks = [Talk.begin(estate.folder.path, f"client-{n}") for n in range(5)]
            for talk in talks:
                talk.exchange(20).end()
            await all_stored(estate)
    assert await wrong(database, talks) == []


@pytest.mark.full
async def test_resets_again_and_again_cost_nothing(
    database: Database, way: Proxy, tmp_path: Path
) -> None:
    async with working(database, way.port, tmp_path, lease_seconds=60) as estate:
        talk = Talk.begin(estate.folder.path)
        for _ in range(5):
            with way.hurt(toxiproxy.reset_peer(stream="upstream"), toxiproxy.reset_peer()):
                talk.exchange(3)
                await until(lambda: failing(estate))
            await estate.shipper.flushed(WITHIN)
        talk.end()
        await all_stored(estate)
    assert await wrong(database, [talk]) == []


@pytest.mark.full
async def test_a_close_that_is_heard_of_late_costs_nothing(
    database: Database, way: Proxy, tmp_path: Path, impatient: None
) -> None:
    """An operator ended the connections, and the worker's ends stay open."""
    async with working(database, way.port, tmp_path) as estate:
        talk = Talk.begin(estate.folder.path).exchange(3)
        with way.hurt(toxiproxy.slow_close(5), toxiproxy.slow_close(5, "upstream")):
            await asyncio.to_thread(database.cut)
            talk.exchange(3).end()
            await all_stored(estate)
    assert await wrong(database, [talk], reclaimable=True) == []


@pytest.mark.full
async def test_a_transaction_that_nobody_ends_gives_its_locks_back(
    database: Database, way: Proxy, tmp_path: Path
) -> None:
    """Postgres never hears that a client is gone, which holds the row that is to be written."""
    async with working(database, database.port, tmp_path, lease_seconds=60) as estate:
        talk = Talk.begin(estate.folder.path).exchange(3)
        await arrived(database, talk)
        gone = await connect(database.url(way.port), "test", answer_seconds=SOON)
        await gone.execute("BEGIN")
        await gone.execute("UPDATE sessions SET language = language")
        with way.hurt(*BLACK_HOLE):
            talk.exchange(3).end()
            await until(lambda: "55P03" in (estate.shipper.status().last_error or ""))
            await all_stored(estate)
        await gone.close()
    assert await wrong(database, [talk]) == []


async def test_a_pool_says_that_postgres_is_away_and_serves_again_when_it_is_back(
    database: Database, way: Proxy, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the API uses it: nobody is kept waiting for what a dead connection owes."""
    monkeypatch.setattr(databases, "ANSWER_SECONDS", 10 * WITHIN)
    monkeypatch.setattr(databases, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(BoundedConnection, "answer_seconds", 10 * WITHIN)
    async with databases.pool(database.url(way.port), "test", max_size=2) as pool:
        assert await asked(pool) == 1
        with way.hurt(*BLACK_HOLE), pytest.raises(DatabaseUnavailableError):
            async with asyncio.timeout(WITHIN):
                await asked(pool)
        async with asyncio.timeout(WITHIN):
            while await asked_or_not(pool) != 1:
                pass


async def asked(pool: databases.Pool) -> int:
    with translated():
        async with pool.connection() as db:
            row = await (await db.execute("SELECT 1")).fetchone()
    assert row is not None
    return int(row[0])


async def asked_or_not(pool: databases.Pool) -> int | None:
    try:
        return await asked(pool)
    except DatabaseUnavailableError:
        return None


@pytest.mark.full
async def test_a_worker_behind_a_black_hole_can_stop(
    database: Database, way: Proxy, tmp_path: Path, impatient: None
) -> None:
    """What it could not ship is on disk, and shipped by who takes the folder over."""
    async with asyncio.timeout(WITHIN):
        async with working(database, way.port, tmp_path) as estate:
            talk = Talk.begin(estate.folder.path).exchange(3)
            await arrived(database, talk)
            way.add(toxiproxy.black_hole())
            talk.exchange().end()
            await until(lambda: failing(estate))
        way.heal()
    async with working(database, way.port, tmp_path) as estate:
        await all_stored(estate)
    assert await wrong(database, [talk], reclaimable=True) == []


@pytest.fixture
def job_settings(database: Database, way: Proxy, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(BoundedConnection, "answer_seconds", SOON)
    monkeypatch.setattr(runner, "RESTART_SECONDS", SOON)
    return Settings(
        database_url=SecretStr(database.url(way.port)),
        openai_api_key=SecretStr("none"),
        openai_base_url="http://127.0.0.1:9/v1",
    )


def waiting_for_jobs(database: Database) -> bool:
    """Whether a runner is there and listens."""
    return bool(database.query("SELECT FROM procrastinate_workers")) and bool(
        database.query("SELECT FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'")
    )


@pytest.mark.full
async def test_jobs_are_run_again_after_a_black_hole(
    database: Database, way: Proxy, tmp_path: Path, impatient: None, job_settings: Settings
) -> None:
    running = asyncio.create_task(runner.run(job_settings))
    try:
        await until(lambda: waiting_for_jobs(database))
        with capture_logs() as said, way.hurt(*BLACK_HOLE):
            await until(lambda: any(line["event"] == "jobs_interrupted" for line in said))
        async with working(database, database.port, tmp_path) as estate:
            Talk.begin(estate.folder.path).exchange(3).end()
            await all_stored(estate)
        await until(lambda: not database.query(_WAITING_JOBS))
        assert database.query("SELECT FROM procrastinate_jobs")
    finally:
        running.cancel()
        await asyncio.wait({running}, timeout=WITHIN)
    assert running.cancelled()


async def test_jobs_can_be_stopped_behind_a_black_hole(
    database: Database, way: Proxy, impatient: None, job_settings: Settings
) -> None:
    """Once is enough: what fails at the stop does not take its place."""
    running = asyncio.create_task(runner.run(job_settings))
    await until(lambda: waiting_for_jobs(database))
    with way.hurt(*BLACK_HOLE):
        running.cancel()
        await asyncio.wait({running}, timeout=WITHIN)
    assert running.cancelled()


_WAITING_JOBS = "SELECT FROM procrastinate_jobs WHERE status = 'todo' AND attempts = 0"
