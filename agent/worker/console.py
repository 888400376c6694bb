"""`coach console`: talk to the coach in a terminal, with no LiveKit server in between.

The terminal itself is LiveKit's. The session is journaled like any other, and shipped when the
console closes, if there is a database; else its journal stays on disk for the next worker.
"""

from __future__ import annotations

import asyncio
import sys

import structlog
from livekit.agents import cli

from agent.settings import Settings
from agent.worker.estate import ship_all
from agent.worker.job import CoachJob
from agent.worker.server import agent_server
from persistence import folders
from persistence.folders import WorkerFolder

log = structlog.get_logger("coach.console")


def run(settings: Settings, *, text: bool) -> None:
    """Talk until the person ends it; `text` types instead of speaking."""
    folder = folders.claim(settings.journal_dir, settings.journal_folder)
    try:
        server = agent_server(settings, CoachJob(settings, folder.path))
        sys.argv = ["coach", "console", *(["--text"] if text else [])]
        cli.run_app(server)
    finally:
        asyncio.run(_ship(settings, folder))
        folder.close()


async def _ship(settings: Settings, folder: WorkerFolder) -> None:
    if settings.database_url is None:
        log.info("journal_kept", folder=str(folder.path))
        return
    unshipped = await ship_all(settings, folder, folder.worker_id)
    log.info("session_shipped" if not unshipped else "journal_kept", unshipped=unshipped)
