"""What runs beside: started again when it fails, and surely ended."""

from __future__ import annotations

import asyncio
import contextlib

from agent.worker.background import running, to_the_end


async def test_what_fails_is_started_again() -> None:
    began: list[int] = []
    again = asyncio.Event()

    async def fails() -> None:
        began.append(1)
        if len(began) == 1:
            raise RuntimeError
        again.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(20), running({"fails": fails}):
        await again.wait()
    assert len(began) == 2


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again() -> None:
    """As a library does that takes it for a time-out of its own, at the wrong moment."""
    began, swallowed = asyncio.Event(), 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                began.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if swallowed == 2:
                    raise
                swallowed += 1

    async with asyncio.timeout(20), running({"stubborn": stubborn}):
        await began.wait()
    assert swallowed == 2


def test_a_task_that_took_its_cancellation_for_something_else_does_not_keep_a_process() -> None:
    """`asyncio.run` alone would wait for it for good."""

    async def deaf() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def work() -> tuple[int, asyncio.Task[None]]:
        left = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        return 3, left

    result, left = asyncio.run(to_the_end(work()))
    assert (result, left.cancelled()) == (3, True)
