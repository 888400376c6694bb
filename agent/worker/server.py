"""The worker: LiveKit's server loop and its job processes, and beside it what keeps the promise.

The parent process never touches audio. It ships the journals of its jobs to Postgres, says that it
is alive, ends what dead jobs and dead workers left, and calls agents for clients who wait alone. On
a stop it lets its sessions end, ships what they said, and says if it could not.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog
from livekit.agents import AgentServer

from agent.settings import Settings, secret
from agent.worker.background import Tasks, running
from agent.worker.entry import JobEntry, apart_from_main
from agent.worker.estate import Estate
from agent.worker.livekit_client import livekit_api
from agent.worker.livekit_clock import LiveKitClock
from agent.worker.lone_clients import LoneClients
from agent.worker.lost_agents import LostAgents, left_by_dead_jobs
from agent.worker.metrics import Metrics
from agent.worker.signals import Stop
from persistence.database import connect, require_current_schema, translated
from persistence.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from agent.worker.job import CoachJob

log = structlog.get_logger("coach.worker")

PRELOADED = ["agent.worker.forkserver", "agent.worker.job", "anyio._backends._asyncio"]
"""Loaded once, in the process that all jobs are forked from. The last one is what the providers'
HTTP clients load at their first request: in the middle of a session's start it holds that up."""

UNLIMITED_LOAD = 1.0
"""A load threshold from here on means: take every job, whatever the machine's CPU says."""

UNSHIPPED = 3
"""Exit code of a worker that stopped with turns on its disk that are not in Postgres."""


async def run(settings: Settings, *, devmode: bool = False) -> int:
    """Serve until told to stop; return the exit code.

    Raises SchemaOutdatedError before anything starts, and what the journal's folder is refused
    for. A Postgres that is away keeps no worker from starting: what is said is on disk meanwhile.
    """
    stop = Stop()
    stop.install()
    await _check_schema(secret(settings.database_url))
    async with Estate.claimed(settings) as estate:
        await stop.before(estate.recover())
        server = agent_server(settings, JobEntry(settings, estate.folder.path))
        async with (
            _watchers(settings, estate, server) as watchers,
            running({**estate.tasks(), **watchers}),
        ):
            await stop.before(estate.known_alive())
            try:
                if not stop.asked.is_set():
                    with apart_from_main():
                        await _serve(settings, server, stop, devmode=devmode)
            finally:
                unshipped = await estate.flush(hurried=stop.hurried)
    log.info("worker_stopped", unshipped=unshipped)
    return UNSHIPPED if unshipped else 0


def agent_server(settings: Settings, job: JobEntry | CoachJob) -> AgentServer:
    """Return LiveKit's server for `job`, not yet running."""
    _quiet_environment(settings)
    unlimited = settings.load_threshold >= UNLIMITED_LOAD
    server = AgentServer(
        ws_url=settings.livekit_url,
        api_key=settings.livekit_api_key,
        api_secret=secret(settings.livekit_api_secret),
        host=settings.worker_host,
        port=settings.worker_port,
        max_retry=sys.maxsize,  # a worker that gave up would take its running sessions with it
        drain_timeout=settings.longest_drain_seconds,
        load_threshold=math.inf if unlimited else settings.load_threshold,
        load_fnc=(lambda: 0.0) if unlimited else None,
        setup_fnc=job.set_up,
        preload_modules=PRELOADED,
        log_level=settings.log_level,
    )
    if settings.idle_processes is not None:
        server.update_options(num_idle_processes=settings.idle_processes)
    server.rtc_session(job.run, agent_name=settings.agent_name, on_session_end=job.finish)
    server.on("worker_registered", lambda *_: log.info("worker_registered"))
    return server


def agents_of(server: AgentServer, registered: asyncio.Event) -> dict[str, str]:
    """Return the agents of the jobs that run, by identity, each with its room.

    None has one before `server` was `registered`, and until it runs it cannot be asked.
    """
    if not registered.is_set():
        return {}
    return {job.accept_arguments.identity: job.job.room.name for job in server.active_jobs}


@asynccontextmanager
async def _watchers(
    settings: Settings, estate: Estate, server: AgentServer
) -> AsyncIterator[Tasks]:
    """Give what looks after rooms and tells the worker's figures; it can run inside the block."""
    registered, clock = asyncio.Event(), LiveKitClock()
    server.on("worker_registered", lambda *_: registered.set())
    agents = LostAgents(
        lambda: agents_of(server, registered), left_by_dead_jobs(estate.folder.path)
    )
    async with livekit_api(settings, clock) as livekit:
        lone_clients = LoneClients(
            livekit, settings.agent_name, settings.lone_client_seconds, agents, clock.now
        )
        metrics = Metrics(settings.worker_host, settings.metrics_port, estate, lone_clients)
        yield {"lone_clients": lambda: lone_clients.run(registered), "metrics": metrics.run}


async def _serve(settings: Settings, server: AgentServer, stop: Stop, *, devmode: bool) -> None:
    """Run `server` until it is asked to stop, let its sessions end, and close it.

    One that fails by itself is closed too: its jobs still run. Draining for 0 s would be draining
    without an end to the framework.
    """
    serving = asyncio.create_task(server.run(devmode=devmode), name="agent_server")
    asked = asyncio.create_task(stop.asked.wait(), name="stop_asked")
    try:
        await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done() and settings.longest_drain_seconds and not devmode:
            await _drain(server, stop)
    finally:
        asked.cancel()
        await server.aclose()
    await serving


async def _drain(server: AgentServer, stop: Stop) -> None:
    """Take no new job, and wait for those that run: to the end, a time-out, or a hurried stop."""
    draining = asyncio.create_task(server.drain(), name="drain")
    hurried = asyncio.create_task(stop.hurried.wait(), name="stop_hurried")
    await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    draining.cancel()
    with contextlib.suppress(TimeoutError, asyncio.CancelledError):
        await draining


async def _check_schema(dsn: str) -> None:
    try:
        with translated():
            async with await connect(dsn, "worker") as db:
                await require_current_schema(db)
    except DatabaseUnavailableError:
        log.warning("database_unavailable", effect="what is said waits on disk")


def _quiet_environment(settings: Settings) -> None:
    """Set what job processes read from the environment before they can be asked."""
    # BLAS threads spin in small processes: 31 instead of 6 CPU seconds a session-minute
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if settings.turn_detection == "vad":
        # the end-of-turn model's weights, 244 MB, are not needed
        os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
