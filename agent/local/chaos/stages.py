"""Where campaigns are played: all that they need, brought to this machine and taken away again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import assert_never

from agent.local import livekit_server, toxiproxy, wrong_clock
from agent.local.chaos import stand_ins
from agent.local.chaos.clocks import Clock
from agent.local.chaos.database import LEASE_SECONDS, Database
from agent.local.chaos.outcome import Outcome
from agent.local.chaos.plan import Campaign, Level
from agent.local.chaos.stage import Stage
from agent.local.processes import Children
from agent.local.toxiproxy import Proxy
from agent.local.wrong_clock import WrongClockError

Play = Callable[[Campaign, Path], Awaitable[Outcome]]
"""Plays a campaign, with all that it writes in a folder."""
Report = Callable[[str], None]
"""Takes a line that says what is going on."""


def opened(level: Level, folder: Path, report: Report) -> AbstractAsyncContextManager[Play]:
    """Return what campaigns of `level` are played on, for as long as it is entered.

    `folder` is of the whole run.
    """
    match level:
        case Level.PROCESS:
            return _process_stage(folder, report)
        case Level.ROOM:
            return _room_stage(folder, report)
        case _:
            assert_never(level)


@asynccontextmanager
async def _process_stage(folder: Path, report: Report) -> AsyncIterator[Play]:
    with _wired(folder, report, LEASE_SECONDS) as (children, database, proxy):
        child, urls = stand_ins.start(children)
        try:
            yield Stage(database, proxy, urls["openai"], _clocks()).play
        finally:
            children.stop(child, 1)


@asynccontextmanager
async def _room_stage(folder: Path, report: Report) -> AsyncIterator[Play]:
    from agent.local.chaos import deployment as deployments  # noqa: PLC0415 it loads LiveKit
    from agent.local.chaos.room_stage import RoomStage  # noqa: PLC0415

    place = folder / "work" / "rooms"
    place.mkdir(mode=0o700, parents=True)
    lease_seconds = deployments.LEASE_SECONDS
    with _wired(folder, report, lease_seconds) as (children, database, proxy):
        binary = livekit_server.find_or_build(children, report=report)
        clock = Clock.made(_clocks(), place / "clock")
        deployment = deployments.Deployment(children, database, proxy, place, binary, clock)
        try:
            yield RoomStage(deployment).play
        finally:
            deployment.close()
            clear(place)


@contextmanager
def _wired(
    folder: Path, report: Report, lease_seconds: float
) -> Iterator[tuple[Children, Database, Proxy]]:
    """Give a Postgres, and the fault proxy before it."""
    children = Children(folder)
    children.end_orphans()
    proxies = toxiproxy.start(children, toxiproxy.PROGRAM.find_or_build(children, report=report))
    try:
        with Database.created(folder, lease_seconds) as database:
            yield children, database, proxies.proxy("postgres", database.port)
    finally:
        toxiproxy.stop(children, proxies)


def _clocks() -> Path | None:
    """Return what makes clocks wrong; `left_out` has said so where nothing can."""
    try:
        return wrong_clock.library()
    except WrongClockError:
        return None


def clear(place: Path) -> None:
    """Remove what an earlier run left, a disk that was mounted there included."""
    for mounted in place.glob("*/journal"):
        if mounted.is_mount():
            subprocess.run(["umount", "--lazy", str(mounted)], check=False)  # noqa: S603, S607
    shutil.rmtree(place, ignore_errors=True)
