"""The API in this process on a real database, with keys to call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest
from fastapi import FastAPI

from agent.api.app import create_app
from agent.local.livekit_server import LiveKitServer
from agent.settings import Settings
from persistence import database, keys
from persistence.ids import new_id
from persistence.keys import NewKey

NOBODY = "ws://127.0.0.1:1"
"""A LiveKit server that is not there."""
START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def settings(database_url: str, server: LiveKitServer | None = None, **more: Any) -> Settings:
    return Settings(
        _env_file=None,
        database_url=database_url,
        livekit_url=server.url if server else NOBODY,
        livekit_api_key=server.credentials.key if server else "key",
        livekit_api_secret=server.credentials.secret if server else "secret" * 8,
        **more,
    )


@dataclass
class Api:
    app: FastAPI
    http: httpx2.AsyncClient
    db: psycopg.AsyncConnection[Any]

    async def key(self, *scopes: str, **more: Any) -> str:
        """Return a new key with `scopes`."""
        key = keys.generate()
        await keys.create(self.db, key, NewKey("test", list(scopes), **more))
        return key

    async def get(self, path: str, key: str, **more: Any) -> httpx2.Response:
        return await self.http.get(path, headers={"X-API-Key": key}, **more)

    async def post(self, path: str, key: str, body: Any = None) -> httpx2.Response:
        return await self.http.post(path, headers={"X-API-Key": key}, json=body)


@asynccontextmanager
async def serving(with_settings: Settings) -> AsyncIterator[Api]:
    app = create_app(with_settings)
    assert with_settings.database_url is not None
    db = await database.connect(with_settings.database_url.get_secret_value(), "test")
    # the transport answers as a server does: what the application raises is its own business
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    http = httpx2.AsyncClient(transport=transport, base_url="http://coach.test")
    async with app.router.lifespan_context(app), http, db:
        yield Api(app, http, db)


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """The API without a LiveKit server."""
    async with serving(settings(database_url)) as served:
        yield served


async def all_idle(api: Api) -> None:
    """Wait until no connection to Postgres is in use; what the API does by itself ends soon."""
    pool = api.app.state.resources.pool
    async with asyncio.timeout(10):
        while (stats := pool.get_stats())["pool_available"] < stats["pool_size"]:  # noqa: ASYNC110 it tells nobody
            await asyncio.sleep(0.01)


async def add_user(db: psycopg.AsyncConnection[Any], identity: str, **more: Any) -> UUID:
    return await _add(db, "users", {"identity": identity, **more})


async def add_session(db: psycopg.AsyncConnection[Any], **fields: Any) -> UUID:
    """Add a completed session of 90 s, unless `fields` say otherwise."""
    ended = fields.get("status", "completed") != "active"
    values = {
        "status": "completed",
        "started_at": START,
        "ended_at": fields.get("started_at", START) + timedelta(seconds=90) if ended else None,
        "duration_seconds": 90.0 if ended else None,
        **fields,
    }
    return await _add(db, "sessions", values)


async def add_turns(
    db: psycopg.AsyncConnection[Any], session_id: UUID, said: Iterable[dict[str, Any]]
) -> None:
    for seq, turn in enumerate(said, start=1):
        at = START + timedelta(seconds=seq)
        values = {
            "session_id": session_id,
            "seq": seq,
            "item_id": f"item-{seq}",
            "role": "client",
            "started_at": at,
            "ended_at": at + timedelta(seconds=1),
            "recorded_at": at + timedelta(seconds=1),
            **turn,
        }
        await _add(db, "turns", values)


async def _add(db: psycopg.AsyncConnection[Any], table: str, values: dict[str, Any]) -> UUID:
    row = {"id": new_id(), **values}
    columns, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    query = f"INSERT INTO {table} ({columns}) VALUES ({marks})"
    await db.execute(query.encode(), list(row.values()))
    return UUID(str(row["id"]))
