"""Whether Postgres answers, asked once a second at most, however many want to know.

Anybody may ask the API whether it is ready: that is not to become work for Postgres.
"""

from __future__ import annotations

import asyncio
import time

from psycopg_pool import AsyncConnectionPool

from persistence import database, health
from persistence.errors import DatabaseUnavailableError, PersistenceError

HOLDS_SECONDS = 1.0
"""How long what was found out is told again."""


class Readiness:
    """What Postgres answered last."""

    def __init__(self, pool: AsyncConnectionPool[database.BoundedConnection]) -> None:
        self._pool = pool
        self._one_at_a_time = asyncio.Lock()
        self._asked_at: float | None = None
        self._failure: str | None = None

    async def require(self) -> None:
        """Raise DatabaseUnavailableError if Postgres does not answer, or did not a moment ago."""
        async with self._one_at_a_time:
            if self._asked_at is None or time.monotonic() - self._asked_at > HOLDS_SECONDS:
                self._failure = await self._ask()
                self._asked_at = time.monotonic()
        if self._failure is not None:
            raise DatabaseUnavailableError(self._failure)

    async def _ask(self) -> str | None:
        """Return why Postgres does not answer, None if it does."""
        try:
            with database.translated():
                async with self._pool.connection() as db:
                    await health.ping(db)
        except PersistenceError as error:
            return str(error)
        return None
