"""Serving the API: `coach api`."""

from __future__ import annotations

import signal
import socket

import structlog
import uvicorn

from agent.api.app import create_app
from agent.api.resources import require_current_schema
from agent.settings import Settings, listed

STOP_SECONDS = 10
BACKLOG = 2048

log = structlog.get_logger("coach.api")


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; `settings` must have LiveKit and the database.

    Raises DatabaseUnavailableError, SchemaOutdatedError, and OSError where it cannot listen.
    """
    await require_current_schema(settings)
    listening = _listen(settings.api_host, settings.api_port)
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,  # it names paths with their queries: what someone searched for
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=listed(settings.api_proxies),
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    # uvicorn raises the signal that stopped it once more: a stop that was asked for is no failure
    signal.signal(signal.SIGTERM, lambda *_: None)
    log.info("api_listening", port=listening.getsockname()[1])
    await uvicorn.Server(config).serve(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
