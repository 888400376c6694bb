"""The worker of a process campaign: the estate of a real one, without LiveKit.

It does what `agent.worker.server` does around its server loop: claims a folder, ends what is left
there, ships, holds the lease, reclaims; at a stop it lets its jobs end, and ships what they said.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from agent import logs
from agent.local.chaos.job import TOLD_TO_END
from agent.local.chaos.records import Record
from agent.settings import Settings
from agent.worker.background import running, to_the_end
from agent.worker.estate import Estate
from agent.worker.signals import Stop
from persistence.disk import is_locked

WHAT_NOW = signal.SIGUSR2
"""At which a worker says what it is at: for one that does not come to its end."""
_LOOK_SECONDS = 0.02


def run(settings: Settings, record: Path) -> None:
    """Work until told to stop; what it says of itself goes to `record`."""
    logs.configure(settings)
    signal.signal(TOLD_TO_END, signal.SIG_IGN)
    signal.signal(WHAT_NOW, signal.SIG_IGN)
    asyncio.run(to_the_end(_run(settings, Record(record))))


async def _run(settings: Settings, record: Record) -> None:
    asyncio.get_running_loop().add_signal_handler(WHAT_NOW, _tell)
    stop = Stop()
    stop.install()
    async with Estate.claimed(settings) as estate:
        folder = estate.folder
        record.say("claimed", folder=str(folder.path), worker=str(folder.worker_id))
        await estate.recover()
        async with running(estate.tasks()):
            await estate.known_alive()
            record.say("ready", folder=str(folder.path), worker=str(folder.worker_id))
            await stop.asked.wait()
            await _let_jobs_end(estate, stop)
            unshipped = await estate.flush(hurried=stop.hurried)
    record.say("stopped", unshipped=unshipped)


async def _let_jobs_end(estate: Estate, stop: Stop) -> None:
    """Tell the jobs of this worker to end and wait for that, less long when the stop is hurried."""
    os.killpg(0, TOLD_TO_END)
    while not stop.hurried.is_set() and any(map(is_locked, estate.folder.journals())):  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_SECONDS)  # other processes' locks have no event


def _tell() -> None:
    """Print where each task is."""
    for task in asyncio.all_tasks():
        task.print_stack()
