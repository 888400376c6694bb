"""What a job works with: made once at the edge, handed to every job in its context."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from procrastinate import JobContext
from psycopg_pool import AsyncConnectionPool

from agent.jobs.llm import Llm
from persistence.analyses import Connection
from persistence.database import BoundedConnection, translated


@dataclass(frozen=True, slots=True)
class Tools:
    pool: AsyncConnectionPool[BoundedConnection]
    llm: Llm
    running: set[int] = field(default_factory=set)
    """The jobs that are at work, by their ids."""

    @staticmethod
    def of(context: JobContext) -> Tools:
        """Return the tools that the runner gave to this job."""
        return cast("Tools", context.additional_context["tools"])

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction on a connection of the pool; raises PersistenceError.

        None is held while a job waits for the LLM.
        """
        with translated():
            async with self.pool.connection() as db, db.transaction():
                yield db
