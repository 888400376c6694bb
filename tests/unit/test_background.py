"""What runs beside: started again when it fails, and surely ended."""

from __future__ import annotations

import asyncio

from agent.worker.background import running


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
