"""What the routes work with: made when the application starts, closed when it stops."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any

import aiohttp
from fastapi import Depends, Request
from livekit import api as livekit
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from agent.api.errors import ApiError
from agent.api.following import Following
from agent.api.limits import Limits
from agent.api.readiness import Readiness
from agent.settings import Settings, secret
from agent.worker.livekit_client import UNANSWERED
from persistence import database
from persistence.keys import Key

Connection = AsyncConnection[Any]

LIVEKIT_SECONDS = 5.0


@dataclass
class Resources:
    settings: Settings
    pool: AsyncConnectionPool[database.BoundedConnection]
    livekit: livekit.LiveKitAPI
    limits: Limits
    following: Following
    readiness: Readiness
    started: float = field(default_factory=time.monotonic)
    """When this process began to serve, by the monotonic clock."""
    remembered: dict[bytes, tuple[Key, float]] = field(default_factory=dict)
    """Callers by their key's hash, and when Postgres last vouched for them (monotonic)."""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Resources]:
    """Open what the API needs.

    Raises DatabaseUnavailableError, or SchemaOutdatedError on a schema that is not this version's.
    """
    await require_current_schema(settings)
    async with (
        database.pool(secret(settings.database_url), "api") as pool,
        _livekit_client(settings) as client,
    ):
        yield Resources(
            settings,
            pool,
            client,
            limits=Limits.of(settings),
            following=Following(secret(settings.database_url)),
            readiness=Readiness(pool),
        )


async def require_current_schema(settings: Settings) -> None:
    """Raise SchemaOutdatedError unless the database is this version's."""
    with database.translated():
        async with await database.connect(secret(settings.database_url), "api") as db:
            await database.require_current_schema(db)


@asynccontextmanager
async def _livekit_client(settings: Settings) -> AsyncIterator[livekit.LiveKitAPI]:
    client = livekit.LiveKitAPI(
        settings.livekit_url,
        settings.livekit_api_key,
        secret(settings.livekit_api_secret),
        timeout=aiohttp.ClientTimeout(total=LIVEKIT_SECONDS),
    )
    async with client:
        yield client


@asynccontextmanager
async def connection(resources: Resources) -> AsyncIterator[Connection]:
    """Give a connection in autocommit; raises PersistenceError for whatever fails on it."""
    with database.translated():
        async with resources.pool.connection() as db:
            yield db


@asynccontextmanager
async def livekit_answers() -> AsyncIterator[None]:
    """Turn what LiveKit's client raises inside into the documented answer.

    That is an AttributeError where something in front of it gives an error as JSON of its own.
    """
    try:
        yield
    except (*UNANSWERED, AttributeError) as error:
        code = f": {error.code}" if isinstance(error, livekit.TwirpError) else ""
        details = f"LiveKit cannot be reached{code}"
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, details) from error


async def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


The = Annotated[Resources, Depends(_resources)]
