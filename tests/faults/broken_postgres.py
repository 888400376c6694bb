"""A Postgres to be broken, a network to be broken on the way to it, and workers without audio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from agent.local.chaos.database import Database
from agent.local.toxiproxy import Proxy, Toxiproxy
from agent.settings import Settings
from agent.worker.background import running
from agent.worker.estate import Estate

RELOAD = "SELECT pg_reload_conf()"
LEASE_SECONDS, RENEWAL_SECONDS = 1.5, 0.3
WITHIN = 40.0
"""Seconds in which anything has to have come about; a machine may be busy."""


@pytest.fixture(scope="session")
def one_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with Database.created(tmp_path_factory.mktemp("postgres")) as database:
        yield database


@pytest.fixture
def database(one_database: Database) -> Database:
    """A server with an empty database; it may be left broken, and may not be left stopped."""
    one_database.empty()
    return one_database


@pytest.fixture
def way(database: Database, toxiproxy_server: Toxiproxy) -> Iterator[Proxy]:
    """The proxy by way of which workers reach the database."""
    proxy = toxiproxy_server.proxy("postgres", database.port)
    yield proxy
    proxy.delete()


@asynccontextmanager
async def working(
    database: Database, port: int, journals: Path, **settings: Any
) -> AsyncIterator[Estate]:
    """Run what a worker is beside its calls: shipper, lease, reclaim. `port` leads to Postgres."""
    given = Settings(
        database_url=SecretStr(database.url(port)),
        journal_dir=journals,
        lease_seconds=settings.pop("lease_seconds", LEASE_SECONDS),
        lease_renewal_seconds=RENEWAL_SECONDS,
        run_jobs=False,
        **settings,
    )
    async with Estate.claimed(given) as estate:
        await estate.recover()
        async with running(estate.tasks()):
            yield estate


async def until(condition: Callable[[], object], within: float = WITHIN) -> None:
    """Wait for what another process brings about, which has no event for it."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def all_stored(estate: Estate) -> None:
    """Wait until Postgres has all, and the disk nothing."""
    assert await estate.shipper.flushed(WITHIN) == 0
    await until(lambda: not list(estate.folder.journals()))


def execute(database: Database, *statements: str) -> None:
    with database.admin() as db:
        for statement in statements:
            db.execute(statement.encode())


def configure(database: Database, *settings: str) -> None:
    """Change the server's configuration: `SET name = value`, `RESET name`."""
    execute(database, *(f"ALTER SYSTEM {setting}" for setting in settings), RELOAD)
