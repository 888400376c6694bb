"""The pool of connections: which of them are asked whether they work before they are given."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from persistence import database
from persistence.database import BoundedConnection


async def asked(pool: database.Pool) -> int:
    """Return which server process answers on the pool's connection."""
    async with pool.connection() as db:
        row = await (await db.execute("SELECT pg_backend_pid()")).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_connection_that_was_just_cut_is_not_given(database_url: str) -> None:
    async with database.pool(database_url, "test", max_size=1) as pool:
        first = await asked(pool)
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [first])
        assert await asked(pool) != first


async def test_one_that_answered_a_moment_ago_is_not_asked_whether_it_works(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = 0
    wait = BoundedConnection.wait

    async def counted(db: BoundedConnection, *how: Any, **more: Any) -> Any:
        nonlocal waits
        waits += 1
        return await wait(db, *how, **more)

    async with database.pool(database_url, "test", max_size=1) as pool:
        await asked(pool)
        monkeypatch.setattr(BoundedConnection, "wait", counted)
        await asked(pool)
        fresh, waits = waits, 0
        monkeypatch.setattr(database, "FRESH_SECONDS", 0.0)
        await asked(pool)
        assert waits > fresh
