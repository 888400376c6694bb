"""Postgres dies, refuses, forgets who may do what: what was said arrives, once and in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from broken_postgres import all_stored, configure, execute, until, working
from truth import Talk, arrived, wrong

from agent.local.chaos.database import ROLE, Database
from agent.worker.estate import Estate


def last_error(estate: Estate) -> str:
    return estate.shipper.status().last_error or ""


async def test_a_server_killed_in_the_middle_of_batches_loses_and_doubles_nothing(
    database: Database, tmp_path: Path
) -> None:
    """Whatever it had acknowledged is there after its recovery, whatever it had not comes again."""
    async with working(database, database.port, tmp_path) as estate:
        talks = [Talk.begin(estate.folder.path, f"client-{n}") for n in range(8)]
        for _ in range(3):
            for talk in talks:
                talk.exchange(10)
            await asyncio.to_thread(database.kill)
            for talk in talks:
                talk.exchange(2)
            await asyncio.to_thread(database.start)
        for talk in talks:
            talk.end()
        await all_stored(estate)
    assert await wrong(database, talks) == []


async def test_a_worker_that_starts_without_postgres_takes_sessions_and_ships_them_later(
    database: Database, tmp_path: Path
) -> None:
    await asyncio.to_thread(database.kill)
    try:
        async with working(database, database.port, tmp_path) as estate:
            await estate.known_alive()
            talk = Talk.begin(estate.folder.path).exchange(3).end()
            await until(lambda: estate.shipper.status().last_error)
            await asyncio.to_thread(database.start)
            await all_stored(estate)
    finally:
        await asyncio.to_thread(database.restart)
    assert await wrong(database, [talk]) == []


async def test_what_postgres_said_is_committed_survives_its_crash_whatever_it_is_set_to(
    database: Database, tmp_path: Path
) -> None:
    """A journal goes once its session is committed: that may not be taken back."""
    configure(database, "SET synchronous_commit = off", "SET wal_writer_delay = '10s'")
    try:
        async with working(database, database.port, tmp_path) as estate:
            talk = Talk.begin(estate.folder.path).exchange(3).end()
            await all_stored(estate)
            await asyncio.to_thread(database.kill)
        await asyncio.to_thread(database.start)
    finally:
        configure(database, "RESET synchronous_commit", "RESET wal_writer_delay")
    assert await wrong(database, [talk]) == []


def revoke(database: Database) -> Callable[[], None]:
    execute(database, f"REVOKE INSERT, UPDATE ON turns FROM {ROLE}")
    return lambda: execute(database, f"GRANT INSERT, UPDATE ON turns TO {ROLE}")


def lock_out(database: Database) -> Callable[[], None]:
    execute(database, f"ALTER ROLE {ROLE} NOLOGIN")
    database.cut()
    return lambda: execute(database, f"ALTER ROLE {ROLE} LOGIN")


def rename_table(database: Database) -> Callable[[], None]:
    execute(database, "ALTER TABLE turns RENAME TO turns_of_another_version")
    return lambda: execute(database, "ALTER TABLE turns_of_another_version RENAME TO turns")


def rename_column(database: Database) -> Callable[[], None]:
    execute(database, "ALTER TABLE turns RENAME COLUMN generated_text TO meant")
    return lambda: execute(database, "ALTER TABLE turns RENAME COLUMN meant TO generated_text")


def have_no_connection(database: Database) -> Callable[[], None]:
    database.refuse()
    return database.admit


def be_read_only(database: Database) -> Callable[[], None]:
    database.forbid_writes()
    return database.allow_writes


full = pytest.mark.full
UNTOLD = "OperationalError"
"""The driver knows no SQLSTATE of a connection that was not made."""


@pytest.mark.parametrize(
    ("mistake", "sqlstate"),
    [
        pytest.param(be_read_only, "25006", id="read_only_as_in_a_fail_over"),
        pytest.param(revoke, "42501", id="rights_revoked"),
        pytest.param(have_no_connection, UNTOLD, id="no_connection_left", marks=full),
        pytest.param(lock_out, UNTOLD, id="role_locked_out", marks=full),
        pytest.param(rename_table, "42P01", id="table_of_another_schema", marks=full),
        pytest.param(rename_column, "42703", id="column_of_another_schema", marks=full),
    ],
)
async def test_what_an_operator_can_mend_holds_up_and_loses_nothing(
    mistake: Callable[[Database], Callable[[], None]],
    sqlstate: str,
    database: Database,
    tmp_path: Path,
) -> None:
    """It is said, by its SQLSTATE if there is one; all of it comes once that is mended."""
    async with working(database, database.port, tmp_path) as estate:
        talk = Talk.begin(estate.folder.path).exchange(2)
        await arrived(database, talk)
        mend = await asyncio.to_thread(mistake, database)
        try:
            talk.exchange(2)
            await until(lambda: sqlstate in last_error(estate))
            talk.exchange(2).end()
        finally:
            await asyncio.to_thread(mend)
        await all_stored(estate)
        assert estate.shipper.status().dead_letters == 0
    assert await wrong(database, [talk], reclaimable=True) == []


@contextmanager
def all_connections_taken(database: Database) -> Iterator[None]:
    """Take every connection that the server has for roles like the worker's."""
    taken: list[psycopg.Connection[Any]] = []
    try:
        with contextlib.suppress(psycopg.OperationalError):
            while True:  # until there is no more to be had
                taken.append(psycopg.connect(database.url(database.port)))
        yield
    finally:
        for db in taken:
            db.close()


@pytest.mark.full
async def test_a_full_connection_table_is_waited_out(database: Database, tmp_path: Path) -> None:
    database.cut()
    with all_connections_taken(database):
        async with working(database, database.port, tmp_path) as estate:
            talk = Talk.begin(estate.folder.path).exchange(3)
            await until(lambda: UNTOLD in last_error(estate))
            talk.end()
            database.cut()
            await all_stored(estate)
    assert await wrong(database, [talk], reclaimable=True) == []


@pytest.mark.full
@pytest.mark.parametrize("way", ["cut", "crash", "restart"])
async def test_connections_that_are_ended_again_and_again_cost_nothing(
    way: str, database: Database, tmp_path: Path
) -> None:
    """By an operator (57P01), by a crash of another backend (57P02), by an orderly restart."""
    async with working(database, database.port, tmp_path) as estate:
        talks = [Talk.begin(estate.folder.path, f"client-{n}") for n in range(4)]
        for _ in range(10 if way == "cut" else 2):
            for talk in talks:
                talk.exchange(2)
            await asyncio.to_thread(getattr(database, way))
        for talk in talks:
            talk.end()
        await all_stored(estate)
    assert await wrong(database, talks, reclaimable=True) == []


@pytest.mark.full
async def test_the_loser_of_a_deadlock_tries_again(database: Database, tmp_path: Path) -> None:
    """The batch waits for one session's row while who holds that waits for another of its rows."""
    deadlocks = deadlocks_of(database)
    async with working(database, database.port, tmp_path, lease_seconds=60) as estate:
        talks = [Talk.begin(estate.folder.path, f"client-{n}").exchange() for n in range(2)]
        await arrived(database, *talks)
        for one, other in (talks, talks[::-1]):  # which of them comes first in a batch is not told
            with database.admin() as db, db.transaction():
                lock(db, one)
                for talk in talks:
                    talk.exchange(2)
                await until(lambda: is_waiting(database))
                await asyncio.to_thread(lock, db, other)
            await arrived(database, *talks)
        for talk in talks:
            talk.end()
        await all_stored(estate)
    assert deadlocks_of(database) > deadlocks
    assert await wrong(database, talks) == []


def lock(db: psycopg.Connection[Any], talk: Talk) -> None:
    db.execute("SELECT FROM sessions WHERE id = %s FOR UPDATE", [talk.session])


def is_waiting(database: Database) -> bool:
    return bool(
        database.query(
            "SELECT FROM pg_stat_activity WHERE usename = %(role)s AND wait_event_type = 'Lock'",
            {"role": ROLE},
        )
    )


def deadlocks_of(database: Database) -> int:
    (row,) = database.query("SELECT sum(deadlocks)::int AS count FROM pg_stat_database")
    return int(row["count"])
