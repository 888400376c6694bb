"""Stopping a worker: the first SIGTERM or SIGINT asks, the second one hurries."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger("coach.worker")


class Stop:
    """Two events, set by signals to this process."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()

    def install(self) -> None:
        """Take SIGTERM and SIGINT of this process."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask)

    def ask(self) -> None:
        """Ask to stop; asked again, hurry."""
        if self.asked.is_set():
            self.hurried.set()
        self.asked.set()
        log.info("stop_asked", hurried=self.hurried.is_set())

    async def before(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`; a stop that is asked for meanwhile cancels it. Raises what `work` raises."""
        working = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self.asked.wait())
        try:
            await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


async def until_stopped(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do `work` in this process until a signal cancels it. Raises what it raises."""
    stop = Stop()
    stop.install()
    await stop.before(work())
