"""How many events a second are durable in a journal, against what the disk does by itself.

The disk by itself: one thread appends a line and calls fdatasync, again and again. The journal, in
turns with that: `in flight`, a job that goes on talking while its last events are on their way to
the disk, as handlers do, which never wait (what comes during one sync goes with the next, all in
one); `one at a time`, a caller that awaits each event before the next, which no handler does: there
the hop to the writer's thread and back counts fully.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import uuid_utils.compat as uuids
from backlog import turn
from results import Bench, Result, Row
from samples import median_ratio, percentile

from persistence.journal import JournalWriter
from persistence.journal.lines import encode

EVENTS = 200
"""A repetition: few, so that what others do to the disk meanwhile is done to all three."""
IN_FLIGHT = 4
GOAL = 0.6
DEADLINE = 30.0
JOURNAL_BYTES = 2**30


def measure(bench: Bench) -> Result:
    """Return the rates, medians over repetitions in turns."""
    events = bench.size(EVENTS, 50)
    measured: dict[str, list[float]] = {"disk": [], "in flight": [], "one at a time": []}
    for number in range(bench.size(30, 4) + 1):
        folder = bench.folder / str(number)
        found = {
            "disk": _disk(bench.folder / "raw", events),
            "in flight": asyncio.run(_journal(folder, events, IN_FLIGHT)),
            "one at a time": asyncio.run(_journal(folder, events, 1)),
        }
        if number:  # the first one warms up
            for name, rate in found.items():
                measured[name].append(rate)
        bench.report(", ".join(f"{name} {rate:,.0f}/s" for name, rate in found.items()))
    return _result(measured)


def _disk(path: Path, events: int) -> float:
    lines = [encode(turn(datetime.now(UTC), seq)) for seq in range(events)]
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        began = time.perf_counter()
        for line in lines:
            os.write(fd, line)
            os.fdatasync(fd)
        return events / (time.perf_counter() - began)
    finally:
        os.close(fd)


async def _journal(folder: Path, events: int, in_flight: int) -> float:
    """Append `events`, no more than `in_flight` of which are not known to be durable yet."""
    journal = JournalWriter.create(folder, uuids.uuid7(), max_bytes=JOURNAL_BYTES)
    said = [turn(datetime.now(UTC), seq) for seq in range(events)]
    waiting: deque[asyncio.Task[bool]] = deque()
    began = time.perf_counter()
    for event in said:
        journal.append(event)
        waiting.append(asyncio.create_task(journal.durable(DEADLINE)))
        await asyncio.sleep(0)  # it is this event that is waited for, and none that comes later
        if len(waiting) >= in_flight and not await waiting.popleft():
            raise RuntimeError("the journal did not take an event")
    await asyncio.gather(*waiting)
    took = time.perf_counter() - began
    journal.close(DEADLINE)
    return events / took


def _result(measured: dict[str, list[float]]) -> Result:
    middle = {name: percentile(found, 0.5) for name, found in measured.items()}
    ratios = {
        name: median_ratio(measured[name], measured["disk"])
        for name in ("in flight", "one at a time")
    }
    rows = [
        Row("fdatasync of the disk", f"{middle['disk']:,.0f}/s"),
        Row(
            f"durable events, {IN_FLIGHT} in flight",
            f"{middle['in flight']:,.0f}/s: {ratios['in flight']:.2f}x",
            f"{GOAL}x",
            ratios["in flight"] >= GOAL,
        ),
        Row(
            "durable events, each awaited before the next",
            f"{middle['one at a time']:,.0f}/s: {ratios['one at a time']:.2f}x",
            f"{GOAL}x",
            ratios["one at a time"] >= GOAL,
        ),
    ]
    return Result(rows, {"perSecond": measured, "ratios": ratios})
