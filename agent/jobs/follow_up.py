"""From sessions that have ended to the jobs that work on each."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import psycopg
from procrastinate import App, JobContext

from agent.jobs.names import SUMMARISE, session_lock
from agent.jobs.summary import MIN_TURNS
from agent.jobs.tools import Tools
from persistence import sessions


async def follow_up(context: JobContext, session_ids: str) -> None:
    """Defer the jobs of sessions (ids, by spaces) that had been put off; raises PersistenceError.

    Those whose owner came back meanwhile have had theirs: to each of them there is nothing to do.
    """
    async with Tools.of(context).transaction() as db:
        await defer_all(context.app, db, [UUID(session_id) for session_id in session_ids.split()])


async def defer_all(app: App, conn: psycopg.AsyncConnection, session_ids: Sequence[UUID]) -> None:
    """Defer the jobs of all `session_ids` in one statement on `conn`; the caller commits.

    Sessions with fewer than 5 turns have none. Raises ConnectorException.
    """
    long_enough = await sessions.with_turns(conn, session_ids, MIN_TURNS)
    if not long_enough:
        return
    task = app.tasks[SUMMARISE]
    jobs = [
        task.configure(lock=session_lock(name)).make_new_job(session_id=name)
        for name in map(str, long_enough)
    ]
    await app.job_manager.batch_defer_jobs_async(jobs, connection=conn)
