"""The door to a job: what the worker hands to its job processes, and no more.

The worker's own process touches no audio, so it does not load what does: plugins, voice and
recorder are loaded once, in the process that all jobs are forked from (`preload_modules`). Nor do
jobs load what is the worker's: the command line (`apart_from_main`).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from livekit.agents import JobContext, JobProcess

from agent.settings import Settings

if TYPE_CHECKING:
    from agent.worker.job import CoachJob


@dataclass(frozen=True)
class JobEntry:
    """A `CoachJob` to be; pickled into each job process and opened there."""

    settings: Settings
    journal_folder: Path

    def set_up(self, process: JobProcess) -> None:
        """Prepare a job process, before it has a job."""
        self._job().set_up(process)

    async def run(self, ctx: JobContext) -> None:
        """Run the job."""
        await self._job().run(ctx)

    async def finish(self, ctx: JobContext) -> None:
        """See the session's end onto the disk."""
        await self._job().finish(ctx)

    def _job(self) -> CoachJob:
        from agent.worker.job import CoachJob  # noqa: PLC0415 see the module

        return CoachJob(self.settings, self.journal_folder)


@contextlib.contextmanager
def apart_from_main() -> Iterator[None]:
    """Keep processes that are started meanwhile from importing this one's main module again.

    Multiprocessing does that for functions that are defined there; ours are not, and the command
    line takes 8 MB in every job process.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
