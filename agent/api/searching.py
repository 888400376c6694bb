"""Keeps full-text search quick: gathers the words of sessions that ended."""

from __future__ import annotations

import asyncio

import structlog

from agent.api.resources import Resources, connection
from persistence import search
from persistence.errors import PersistenceError

log = structlog.get_logger("coach.api")

GATHER_EVERY_SECONDS = 60.0


async def gather_regularly(resources: Resources) -> None:
    """Gather every minute, until cancelled; several processes that do so share the work."""
    while True:
        await asyncio.sleep(GATHER_EVERY_SECONDS)
        try:
            async with connection(resources) as db:
                while await search.gather(db):
                    pass
        except PersistenceError as error:
            log.warning("words_not_gathered", error_type=type(error).__name__)
