"""What the API does by itself from time to time; several processes that do so share the work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from agent.api.resources import Connection, Resources, connection
from agent.jobs import after_session
from persistence import reported, search
from persistence.errors import PersistenceError

log = structlog.get_logger("coach.api")

GATHER_EVERY_SECONDS = 60.0
GIVE_UP_EVERY_SECONDS = 600.0


async def gather_words(resources: Resources) -> None:
    """Keep full-text search quick: gather the words of sessions that ended, until cancelled."""
    await _regularly(resources, GATHER_EVERY_SECONDS, _gather)


async def give_up_the_silent(resources: Resources) -> None:
    """End the reported sessions that nobody ends, until cancelled."""
    await _regularly(resources, GIVE_UP_EVERY_SECONDS, _give_up)


async def _regularly(
    resources: Resources, seconds: float, work: Callable[[Connection], Awaitable[None]]
) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            async with connection(resources) as db:
                await work(db)
        except PersistenceError as error:
            log.warning("upkeep_postponed", error_type=type(error).__name__)


async def _gather(db: Connection) -> None:
    while await search.gather(db):
        pass


async def _give_up(db: Connection) -> None:
    if given_up := await reported.give_up(db, after_session.defer):
        log.info("reported_sessions_given_up", count=len(given_up))
