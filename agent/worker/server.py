"""The worker: LiveKit's server loop and its job processes, and beside it what keeps the promise.

The parent process never touches audio. It ships the journals of its jobs to Postgres, says that it
is alive, ends what dead jobs and dead workers left, and calls agents for clients who wait alone. On
a stop it lets its sessions end, ships what they said, and says if it could not.
"""

from __future__ import annotations

import os
from typing import Literal

import structlog
from livekit.agents import AgentServer

from agent.settings import Settings
from agent.worker.job import CoachJob
from agent.worker.voice import secret

log = structlog.get_logger("coach.worker")

Mode = Literal["start", "dev"]

UNLIMITED_LOAD = 1.0
"""A load threshold from here on means: take every job, whatever the machine's CPU says."""


def agent_server(settings: Settings, job: CoachJob) -> AgentServer:
    """Return LiveKit's server for `job`, not yet running."""
    _quiet_environment(settings)
    unlimited = settings.load_threshold >= UNLIMITED_LOAD
    server = AgentServer(
        ws_url=settings.livekit_url,
        api_key=settings.livekit_api_key,
        api_secret=secret(settings.livekit_api_secret),
        host=settings.worker_host,
        port=settings.worker_port,
        drain_timeout=settings.drain_seconds,
        load_threshold=settings.load_threshold,
        load_fnc=(lambda: 0.0) if unlimited else None,
        setup_fnc=job.set_up,
        preload_modules=["agent.worker.job"],
        log_level=settings.log_level,
    )
    if settings.idle_processes is not None:
        server.update_options(num_idle_processes=settings.idle_processes)
    server.rtc_session(job.run, agent_name=settings.agent_name, on_session_end=job.finish)
    return server


def _quiet_environment(settings: Settings) -> None:
    """Set what job processes read from the environment before they can be asked."""
    # BLAS threads spin in small processes: 31 instead of 6 CPU seconds a session-minute
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if settings.turn_detection == "vad":
        # the end-of-turn model's weights, 244 MB, are not needed
        os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
