"""What follows sessions, brought to its end once nothing is broken any more.

Workers run the jobs while they are killed, stopped and cut off. What they left undone would be put
back a minute later, or tried again in an hour: here it is at once, in this process.
"""

from __future__ import annotations

from agent.jobs import llm, runner
from agent.jobs.llm import Llm
from agent.jobs.tools import Tools
from agent.local.chaos.database import Database
from agent.local.chaos.verdict import Finding, Kind

ROUNDS = 4
"""How often all that is left is tried again."""
MODEL = "summary"

_AT_ONCE = """
UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo' RETURNING id
"""
_LEFT = "SELECT task_name, status::text FROM procrastinate_jobs ORDER BY id"


async def run_all(database: Database, openai_url: str) -> list[Finding]:
    """Run all jobs, with the workers gone and an LLM at `openai_url`; return those that do not."""
    async with (
        runner.opened(database.url(database.port)) as (app, pool),
        llm.client("none", openai_url) as client,
    ):
        for _ in range(ROUNDS):
            await runner.put_back_stalled(app, seconds=0)
            if not database.query(_AT_ONCE):
                break
            await runner.serve(app, Tools(pool, Llm(client, MODEL)), wait=False)
    left = database.query(_LEFT)
    return [Finding(Kind.JOBS, "campaign", f"{job['task_name']}: {job['status']}") for job in left]
