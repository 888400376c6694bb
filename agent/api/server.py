"""Serving the API: `coach api`."""

from __future__ import annotations

import uvicorn

from agent.api.app import create_app
from agent.api.resources import require_current_schema
from agent.settings import Settings

STOP_SECONDS = 10


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; `settings` must have LiveKit and the database.

    Raises DatabaseUnavailableError and SchemaOutdatedError before it listens.
    """
    await require_current_schema(settings)
    config = uvicorn.Config(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,  # it names paths with their queries: what someone searched for
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    await uvicorn.Server(config).serve()
