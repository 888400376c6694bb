"""Serving the API: `coach api`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
import socket
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from agent.api.app import create_app
from agent.api.connections import Connection
from agent.api.resources import Resources, require_current_schema
from agent.settings import Settings, listed

STOP_SECONDS = 10
BACKLOG = 2048
GARBAGE = (10_000, 20, 50)
"""After so many new objects, so many small collections and so many middling ones."""

log = structlog.get_logger("coach.api")


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; `settings` must have LiveKit and the database.

    Raises DatabaseUnavailableError, SchemaOutdatedError, and OSError where it cannot listen.
    """
    await require_current_schema(settings)
    open_many_files()
    listening = _listen(settings.api_host, settings.api_port)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # it names paths with their queries: what someone searched for
        server_header=False,
        http=Connection,
        ws="none",
        proxy_headers=True,
        forwarded_allow_ips=listed(settings.api_proxies),
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    # uvicorn raises the signal that stopped it once more: a stop that was asked for is no failure
    signal.signal(signal.SIGTERM, lambda *_: None)
    log.info("api_listening", port=listening.getsockname()[1])
    await _Server(config, app).serve(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that lets go who follows a session when it is told to stop, and need not wait."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _collect_rarely()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        resources: Resources = self._app.state.resources
        asyncio.get_running_loop().call_soon_threadsafe(resources.following.stop)


def open_many_files() -> None:
    """Let this process hold as many connections as it is allowed: often 1,024, if nobody asks."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS allows less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _collect_rarely() -> None:
    """Leave what is here for good out of collections, and have whole ones seldom.

    With hundreds of streams one of them takes up to a second, in which nobody is answered; what is
    garbage goes without them as a rule, since little of it refers to itself.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
    # asyncio sets it only where a socket names its protocol; without it the second part of an
    # answer waits 40 ms for the acknowledgement of the first
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
