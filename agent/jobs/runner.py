"""Running the jobs: `coach jobs`, and inside `coach start`.

Procrastinate's worker runs them, woken by NOTIFY. It stops by itself when its heartbeat or its
listener fails, for example with Postgres away; here it is started again until someone cancels.
A worker that died leaves its jobs `doing`: whoever lives puts them back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import structlog
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.middleware import AsyncCallNext
from procrastinate.worker import Worker
from psycopg_pool import AsyncConnectionPool

from agent.jobs import app as jobs_app
from agent.jobs import llm
from agent.jobs.llm import Llm, LlmError
from agent.jobs.tools import Tools
from agent.settings import Settings, secret
from persistence import database
from persistence.database import BoundedConnection, conninfo
from persistence.errors import PersistenceError

CONCURRENCY = 4
CONNECTIONS = 2
"""At most, of the queue and of the jobs each; the listener has one more. Procrastinate's listener
opens its own from its pool's settings, and fails on those of ours (autocommit, given twice)."""
GRACE_SECONDS = 20.0
"""How long running jobs may take to end at a stop; then they are put back for a retry."""
MARGIN_SECONDS = 5.0
CANCEL_AGAIN_SECONDS = 1.0
RESTART_SECONDS = 5.0
STALLED_SECONDS = 60.0
"""A job whose worker gave no heartbeat (every 10 s) for this long is put back."""
STALLED_CHECK_SECONDS = 30.0

log = structlog.get_logger("coach.jobs")


async def run(settings: Settings) -> None:
    """Run jobs until cancelled; then let running ones end, for at most 20 s.

    `settings` must have the database and the OpenAI key. Postgres may come and go meanwhile.
    """
    running: set[int] = set()
    working = asyncio.create_task(_work_on(settings, running), name="jobs_at_work")
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        await _ended(working, running)
        raise


async def _ended(working: asyncio.Task[None], running: Collection[int]) -> None:
    """End the work, and let `running` jobs end first, even if asked to stop once more meanwhile.

    A second cancellation cuts a job off from its queue, where it stays `doing`. Without a job it is
    of use, since a library may take the first one for a time-out of its own.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + GRACE_SECONDS + MARGIN_SECONDS
    working.cancel()
    while not working.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({working}, timeout=CANCEL_AGAIN_SECONDS)
        if not running or loop.time() > give_up_at:
            working.cancel()


async def _work_on(settings: Settings, running: set[int]) -> None:
    async with _llm(settings) as model:
        while True:
            try:
                await _work(settings, model, running)
            except Exception as error:  # noqa: BLE001 - the jobs outlive whatever happens to one run
                log.warning("jobs_interrupted", error=type(error).__name__)
            _stop_if_cancelled()
            await asyncio.sleep(RESTART_SECONDS)


def _stop_if_cancelled() -> None:
    """Raise CancelledError again where an error took its place: a stop without Postgres has one."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@asynccontextmanager
async def _llm(settings: Settings) -> AsyncIterator[Llm]:
    async with llm.client(secret(settings.openai_api_key), settings.openai_base_url) as client:
        yield Llm(client, settings.summary_model)


async def _work(settings: Settings, model: Llm, running: set[int]) -> None:
    """Run one worker until it stops by itself or is cancelled."""
    async with opened(secret(settings.database_url)) as (app, pool), asyncio.TaskGroup() as group:
        rescue = group.create_task(_put_back_regularly(app))
        try:
            await serve(app, Tools(pool, model, running))
        finally:
            await _gone(rescue)


async def _gone(task: asyncio.Task[None]) -> None:
    """Cancel until it has ended: a library may take a cancellation for a time-out of its own.

    A group would cancel it once, and then wait for it for good, whoever asks it to stop.
    """
    while not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task}, timeout=CANCEL_AGAIN_SECONDS)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[App, AsyncConnectionPool[BoundedConnection]]]:
    """Give the queue in the database `url`, and a pool of connections for what its jobs do."""
    queue = PsycopgConnector(
        conninfo=conninfo(url, "jobs"),
        connection_class=BoundedConnection,
        min_size=1,
        max_size=CONNECTIONS,
        timeout=database.POOL_SECONDS,
        name="coach-queue",
    )
    app, pool = jobs_app.build(queue), database.pool(url, "jobs", max_size=CONNECTIONS)
    async with pool, app.open_async():
        yield app, pool


async def serve(app: App, tools: Tools, *, wait: bool = True) -> None:
    """Run a worker on the open `app`; without `wait` only until no job is due."""
    await app.run_worker_async(
        name="coach",
        concurrency=CONCURRENCY,
        wait=wait,
        install_signal_handlers=False,
        shutdown_graceful_timeout=GRACE_SECONDS,
        delete_jobs="successful",
        additional_context={"tools": tools},
        worker_middleware=[_reported],
    )


async def _reported(proceed: AsyncCallNext, context: JobContext, worker: Worker) -> Any:  # noqa: ARG001
    """Say that a job failed; Procrastinate says it only once no try is left."""
    job_id, running = context.job.id, Tools.of(context).running
    assert job_id is not None  # noqa: S101 - it comes from the queue
    running.add(job_id)
    try:
        return await proceed()
    except Exception as error:
        known = str(error) if isinstance(error, LlmError | PersistenceError) else None
        log.warning(
            "job_failed",
            job=context.job.id,
            task=context.job.task_name,
            attempt=context.job.attempts + 1,
            error=type(error).__name__,
            reason=known,
        )
        raise
    finally:
        running.discard(job_id)


async def _put_back_regularly(app: App) -> None:
    while True:
        await put_back_stalled(app)
        await asyncio.sleep(STALLED_CHECK_SECONDS)


async def put_back_stalled(app: App, seconds: float = STALLED_SECONDS) -> None:
    """Put back the jobs of dead workers; one that was tried too often has failed.

    Dead is who gave no heartbeat for `seconds`.
    """
    stalled = await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=seconds)
    for job in stalled:
        try:
            await _put_back(app, job)
        except ConnectorException:
            log.info("stalled_job_taken", job=job.id)  # another worker was quicker
        else:
            log.warning("stalled_job_put_back", job=job.id, task=job.task_name)


async def _put_back(app: App, job: Job) -> None:
    if job.attempts >= (jobs_app.AFTER_SESSION_RETRY.max_attempts or 0):
        await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=False)
    else:
        await app.job_manager.retry_job(job)
