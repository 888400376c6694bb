"""What a job works with: made once at the edge, handed to every job in its context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from procrastinate import JobContext
from psycopg_pool import AsyncConnectionPool

from agent.jobs.llm import Llm


@dataclass(frozen=True, slots=True)
class Tools:
    pool: AsyncConnectionPool
    """Shared with Procrastinate; a job holds no connection while it waits for the LLM."""
    llm: Llm

    @staticmethod
    def of(context: JobContext) -> Tools:
        """Return the tools that the runner gave to this job."""
        return cast("Tools", context.additional_context["tools"])
