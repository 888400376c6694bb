"""What a worker does beside its jobs: each task has an owner that logs its failure and goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import structlog

RESTART_SECONDS = 1.0
CANCEL_AGAIN_SECONDS = 1.0

Result = TypeVar("Result")
Tasks: TypeAlias = Mapping[str, Callable[[], Awaitable[None]]]
"""What is to run, by name."""

log = structlog.get_logger("coach.worker")


@asynccontextmanager
async def running(tasks: Tasks) -> AsyncIterator[None]:
    """Run `tasks` by name inside the block; on leaving it they are cancelled and awaited."""
    async with asyncio.TaskGroup() as group:
        started = [group.create_task(_kept(name, run), name=name) for name, run in tasks.items()]
        try:
            yield
        finally:
            await _cancelled(started)


async def to_the_end(work: Awaitable[Result]) -> Result:
    """Await `work`, a process's only one, and end whatever tasks libraries have left behind it.

    `asyncio.run` cancels them once and then waits for good: a connection pool that was opening a
    connection in that moment has taken it for its time-out, and the process never goes.
    """
    try:
        return await work
    finally:
        own = asyncio.current_task()
        await _cancelled([task for task in asyncio.all_tasks() if task is not own])


async def _cancelled(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel until all have ended: a library may take a cancellation for its own time-out."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)


async def _kept(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run until cancelled: what fails, or returns, is started again."""
    while True:
        try:
            await run()
        except Exception as error:  # whatever failed, the others and the calls go on
            log.exception("background_failed", task=name, error=type(error).__name__)
        await asyncio.sleep(RESTART_SECONDS)
