"""What a worker owns on disk and owes to Postgres: its journals, its lease, and what others left.

A worker claims a folder before it takes a job, ends what an earlier life of it left there, and
looks regularly after folders whose worker never came back and after sessions whose lease ran out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import structlog

from agent.jobs import after_session
from agent.jobs import runner as jobs
from agent.settings import Settings, secret
from agent.worker.background import Tasks
from agent.worker.usage import UsageMeter
from persistence import deadletters, folders, liveness
from persistence.database import connect, translated
from persistence.errors import PersistenceError
from persistence.folders import WorkerFolder
from persistence.liveness import Lease
from persistence.shipper import Shipper

log = structlog.get_logger("coach.estate")

LEASE_SECONDS = 2.0
"""How long a worker without a lease waits for one before it takes jobs all the same."""

PREDECESSOR_SECONDS = 30.0
"""How long jobs of a worker that is gone may take to end. They do so at once, or hang: then who
comes after it does not wait for them, and ends their sessions whenever they are dead."""

HURRIED_SHIP_SECONDS = 5.0
"""How long a worker that was told twice to stop waits for Postgres to have everything."""


@dataclass
class Estate:
    settings: Settings
    folder: WorkerFolder
    shipper: Shipper
    lease: Lease
    settled: bool = False
    """Whether Postgres has everything: only then is the lease given up."""
    reclaimed: int = 0
    """Sessions of lost workers that this one ended."""
    dead_letters: int | None = None
    """How many Postgres had when it was last asked."""

    @classmethod
    @asynccontextmanager
    async def claimed(cls, settings: Settings) -> AsyncIterator[Estate]:
        """Claim a folder for the block's time. Raises JournalTakenError, JournalUnusableError."""
        folder = folders.claim(settings.journal_dir, settings.journal_folder)
        structlog.contextvars.bind_contextvars(worker_id=str(folder.worker_id))
        shipper = _shipper(settings, folder, folder.worker_id)
        lease = Lease(
            secret(settings.database_url),
            folder.worker_id,
            seconds=settings.lease_seconds,
            renewal_seconds=settings.lease_renewal_seconds,
            lapsed=shipper.reassert,
            usage=UsageMeter().measure,
        )
        estate = cls(settings, folder, shipper, lease)
        try:
            yield estate
            if estate.settled:
                await lease.release()
        finally:
            folder.close()

    async def recover(self) -> None:
        """End what an earlier worker left in this folder, before new jobs write to it."""
        if ended := await _recovered(self.shipper):
            log.warning("sessions_recovered", count=ended)

    def tasks(self) -> Tasks:
        """Return what has to run while the worker lives."""
        work: Tasks = {
            "shipper": self.shipper.run,
            "lease": self.lease.run,
            "reclaim": self._reclaim_regularly,
            "orphans": self._adopt_regularly,
        }
        return {**work, "jobs": lambda: jobs.run(self.settings)} if self.settings.run_jobs else work

    async def known_alive(self) -> None:
        """Wait a moment for the lease, so that nobody takes the first session for a lost one's."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEASE_SECONDS):
                await self.lease.held.wait()

    async def flush(self, *, hurried: asyncio.Event) -> int:
        """Wait for Postgres to have everything; return how many events it has not.

        The wait is short once `hurried` is set: what is left is on disk. A session whose end
        nobody has journaled yet counts as one: its job belongs to a worker before this one.
        """
        shipping = asyncio.create_task(self.shipper.flushed(self.settings.ship_seconds))
        hurry = asyncio.create_task(hurried.wait())
        await asyncio.wait({shipping, hurry}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not shipping.done():
            await asyncio.wait({shipping}, timeout=HURRIED_SHIP_SECONDS)
        shipping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await shipping
        left = self.shipper.status().unshipped or self.shipper.open_sessions()
        self.settled = not left
        return left

    async def _reclaim_regularly(self) -> None:
        while True:
            try:
                with translated():
                    await self._reclaim()
            except PersistenceError as error:
                log.warning("reclaim_postponed", error=type(error).__name__)
            await asyncio.sleep(self.settings.lease_seconds / 2)

    async def _reclaim(self) -> None:
        async with await connect(secret(self.settings.database_url), "reclaim") as db:
            self.reclaimed += len(await liveness.reclaim(db, after_session.defer))
            self.dead_letters = await deadletters.count(db)

    async def _adopt_regularly(self) -> None:
        while True:
            for folder in folders.orphans(self.settings.journal_dir, self.folder):
                await self._settle(folder)
            await asyncio.sleep(self.settings.lease_seconds)

    async def _settle(self, folder: WorkerFolder) -> None:
        """End and ship what a worker left that did not come back, then remove its folder."""
        log.warning("folder_adopted", of_worker=str(folder.worker_id))
        try:
            await ship_all(self.settings, folder, self.folder.worker_id)
        finally:
            folder.remove()


async def ship_all(settings: Settings, folder: WorkerFolder, worker_id: UUID) -> int:
    """End what is unfinished in `folder` and ship all of it; return how many events are left.

    `worker_id` is the worker that does so: what still runs in there lives by its lease.
    """
    shipper = _shipper(settings, folder, worker_id)
    running = asyncio.create_task(shipper.run(), name="ship_all")
    try:
        await _recovered(shipper)
        return await shipper.flushed(settings.ship_seconds)
    finally:
        shipper.stop()
        await running


async def _recovered(shipper: Shipper) -> int:
    """End what dead jobs left; return how many sessions, as far as all are known to be dead."""
    try:
        async with asyncio.timeout(PREDECESSOR_SECONDS):
            return await shipper.recover_folder()
    except TimeoutError:
        log.warning("jobs_of_predecessor_run", sessions=shipper.open_sessions())
        return 0


def _shipper(settings: Settings, folder: WorkerFolder, worker_id: UUID) -> Shipper:
    return Shipper([folder.path], secret(settings.database_url), worker_id, after_session.defer)
