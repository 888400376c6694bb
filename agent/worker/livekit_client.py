"""LiveKit's API as it is asked from here, and what its client raises where no answer comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from google.protobuf.message import DecodeError
from livekit import api

from agent.settings import Settings, secret
from agent.worker.livekit_clock import LiveKitClock

ANSWER_SECONDS = 10.0
"""How long LiveKit may take to answer."""

UNANSWERED = (
    api.TwirpError,
    aiohttp.ClientError,
    OSError,
    TimeoutError,
    DecodeError,  # something in front of it answers: a page, with status 200
)
"""What the client raises then; of a server that dies in its answer a ClientError, no OSError."""


@asynccontextmanager
async def livekit_api(
    settings: Settings, clock: LiveKitClock | None = None
) -> AsyncIterator[api.LiveKitAPI]:
    """Return LiveKit's API client for the block's time; what it hears sets `clock`."""
    traces = [clock.traced()] if clock else []
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, trace_configs=traces) as http:
        yield api.LiveKitAPI(
            settings.livekit_url,
            settings.livekit_api_key,
            secret(settings.livekit_api_secret),
            session=http,
        )
