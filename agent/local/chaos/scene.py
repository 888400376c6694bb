"""The live part of a process campaign: two workers, their jobs, and the moments when one dies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from uuid import UUID

import uuid_utils.compat as uuids

from agent.local.chaos import job, records, worker
from agent.local.chaos.nursery import Nursery
from agent.local.chaos.plan import Talk
from agent.settings import Settings

_LOOK_SECONDS = 0.02
_TELL_SECONDS = 1.0
"""For a worker to write to its log what it is at."""
STOP_SECONDS = 60.0
"""In which a worker that was asked to stop is gone: it ships for at most 20 s, its after-session
jobs have 20 s more, and jobs of a dead worker may keep it waiting."""


class StuckError(Exception):
    """Something did not happen that had to."""


@dataclass
class LiveWorker:
    process: ForkServerProcess
    record: Path
    settings: Settings
    clock: Path | None = None
    """By which its wall clock is off, and that of its jobs."""

    @property
    def pid(self) -> int:
        """Its process, which leads its process group."""
        assert self.process.pid is not None  # noqa: S101 it was started
        return self.process.pid

    def alive(self) -> bool:
        return self.process.is_alive()

    def ready_in(self) -> Path | None:
        """Return the folder of its journals once it takes jobs."""
        entry = records.first(self.record, "ready")
        return Path(entry["folder"]) if entry else None


@dataclass
class LiveJob:
    talk: Talk
    session: UUID
    process: ForkServerProcess
    record: Path
    folder: Path
    group: int
    born: float = 0.0
    """`time.monotonic()` before which it was not there."""
    crashed_at: float | None = None
    """`time.monotonic()` from which on nothing has to be kept: when it was killed, or stopped."""
    stalled_at: float | None = None

    def running(self) -> bool:
        return self.crashed_at is None and self.process.is_alive()

    def crash(self) -> None:
        """Note that it is being killed now."""
        if self.running():
            self.crashed_at = self.stalled_at or time.monotonic()

    @property
    def journal(self) -> Path:
        return self.folder / f"{self.session}.journal"


@dataclass
class Scene:
    """What runs; `worker` is the one that faults hit, the rival stands by."""

    nursery: Nursery
    folder: Path
    worker: LiveWorker
    rival: LiveWorker
    jobs: list[LiveJob] = field(default_factory=list)
    workers: list[LiveWorker] = field(default_factory=list)
    stopping: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who takes the worker away until it is started again."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def opened(
        cls,
        nursery: Nursery,
        folder: Path,
        settings: Settings,
        rivals: Settings,
        clock: Path | None,
    ) -> Scene:
        """Start both workers, and return without waiting for them.

        `clock` is that of the worker's machine, which is the rival's if they share their journals.
        """
        shared = rivals.journal_dir == settings.journal_dir
        rival = _bear(nursery, folder, "rival", rivals, clock if shared else None)
        first = _bear(nursery, folder, "worker-0", settings, clock)
        return cls(nursery, folder, first, rival, workers=[first, rival])

    def start_worker(self) -> None:
        """Start the worker again, in place of the one that is gone."""
        name = f"worker-{next(self._numbers)}"
        live = self.worker
        self.worker = _bear(self.nursery, self.folder, name, live.settings, live.clock)
        self.workers.append(self.worker)

    async def hold(self, talk: Talk) -> None:
        """Start the job of `talk` as soon as there is a worker to start it."""
        live, folder = self.worker, self.worker.ready_in()
        while folder is None or not live.alive():
            await asyncio.sleep(_LOOK_SECONDS)
            live, folder = self.worker, self.worker.ready_in()
        session, record = uuids.uuid7(), self.folder / f"talk-{talk.number}.jsonl"
        born = time.monotonic()
        process = self.nursery.bear(
            f"talk-{talk.number}",
            job.run,
            live.settings,
            folder,
            session,
            talk,
            record,
            group=live.pid,
            clock=live.clock,
        )
        self.jobs.append(LiveJob(talk, session, process, record, folder, live.pid, born))

    async def running_job(self, target: int, until: float) -> LiveJob | None:
        """Return a job under way, the `target`-th of them; None if there is none any more.

        Waits for one until `until` (`time.monotonic()`).
        """
        while not (running := [job for job in self.jobs if job.running()]):
            if time.monotonic() > until:
                return None
            await asyncio.sleep(_LOOK_SECONDS)
        return running[target % len(running)]

    def kill_group(self) -> list[LiveJob]:
        """Kill the worker with all its jobs; return those that ran."""
        group = self.worker.pid
        hit = [job for job in self.jobs if job.group == group and job.running()]
        for live in hit:
            live.crash()
        signalled(group, signal.SIGKILL, group=True)
        for process in [self.worker.process, *(live.process for live in hit)]:
            process.kill()  # one that was only just born may not have been in the group yet
            process.join()
        return hit

    async def stopped(self, live: LiveWorker, seconds: float = STOP_SECONDS) -> None:
        """Wait until a worker that was asked to stop is gone; raise StuckError if it is not."""
        deadline = time.monotonic() + seconds
        while live.alive():
            if time.monotonic() > deadline:
                signalled(live.pid, worker.WHAT_NOW)
                await asyncio.sleep(_TELL_SECONDS)
                raise StuckError(f"{live.record.stem} has not stopped after {seconds:.0f} s")
            await asyncio.sleep(_LOOK_SECONDS)

    async def jobs_gone(self, seconds: float) -> None:
        """Wait until every job has ended; raise StuckError if one has not."""
        deadline = time.monotonic() + seconds
        while left := [live for live in self.jobs if live.process.is_alive()]:
            if time.monotonic() > deadline:
                raise StuckError(f"{left[0].record.stem} has not ended after {seconds:.0f} s")
            await asyncio.sleep(_LOOK_SECONDS)


def signalled(pid: int, number: signal.Signals, *, group: bool = False) -> None:
    """Send a signal to a process, or to the group it leads if it does; nothing if it is gone."""
    with contextlib.suppress(ProcessLookupError):
        if group:
            return os.killpg(pid, number)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    return None


def _bear(
    nursery: Nursery, folder: Path, name: str, settings: Settings, clock: Path | None
) -> LiveWorker:
    record = folder / f"{name}.jsonl"
    process = nursery.bear(name, worker.run, settings, record, clock=clock)
    return LiveWorker(process, record, settings, clock)
