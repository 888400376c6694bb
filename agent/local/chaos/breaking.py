"""Doing to a process campaign what its plan says: one function for each kind of fault.

A fault returns whether it hit something. What concerns the worker's life, Postgres and the network
is done one after the other, each until it is whole again; the rest happens at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agent.local import toxiproxy
from agent.local.chaos.clocks import Clock
from agent.local.chaos.database import Database
from agent.local.chaos.plan import Fault, Kind
from agent.local.chaos.scene import LiveJob, Scene, signalled
from agent.local.toxiproxy import Proxy, Toxic
from persistence.disk import try_lock

TARGET_SECONDS = 3.0
"""How long a fault waits for a session that it can hit."""
_TWICE_SECONDS = 0.1
_RUNS_ON_SECONDS = 0.3
"""From a clock's jump to a death: in which sessions go on."""

Break = Callable[[Fault], Awaitable[bool]]


@dataclass
class Breaking:
    scene: Scene
    database: Database
    proxy: Proxy
    disk: Path | None
    """Where the journals are, if that is a small disk of its own."""
    clock: Clock
    """Of the worker's machine."""
    full: list[tuple[float, float]] = field(default_factory=list)
    """When it was full, by `time.monotonic()`."""
    _postgres: asyncio.Lock = field(default_factory=asyncio.Lock)
    _network: asyncio.Lock = field(default_factory=asyncio.Lock)
    _disk: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def happen(self, fault: Fault) -> bool:
        """Do what `fault` says, and undo it when its time is over; return whether it hit."""
        return await self._ways()[fault.kind](fault)

    def _ways(self) -> Mapping[Kind, Break]:
        database = self.database
        return {
            Kind.JOB_KILLED: self._kill_job,
            Kind.JOB_STALLED: self._stall_job,
            Kind.WORKER_KILLED: self._kill_worker,
            Kind.WORKER_STALLED: self._stall_worker,
            Kind.GROUP_KILLED: partial(self._kill_group, torn=False),
            Kind.TORN_TAIL: partial(self._kill_group, torn=True),
            Kind.SIGTERM: partial(self._stop_worker, signals=1),
            Kind.SIGTERM_TWICE: partial(self._stop_worker, signals=2),
            Kind.SIGTERM_GROUP: partial(self._stop_worker, signals=1, group=True),
            Kind.POSTGRES_KILLED: partial(self._postgres_for, database.kill, database.start),
            Kind.POSTGRES_CRASHED: partial(self._postgres_for, database.crash, None),
            Kind.POSTGRES_RESTARTED: partial(self._postgres_for, database.restart, None),
            Kind.CONNECTIONS_FULL: partial(self._postgres_for, database.refuse, database.admit),
            Kind.CONNECTIONS_CUT: partial(self._postgres_for, database.cut, None),
            Kind.READ_ONLY: partial(
                self._postgres_for, database.forbid_writes, database.allow_writes
            ),
            Kind.NET_LATENCY: partial(self._network_for, toxiproxy.latency(0.2, 0.1)),
            Kind.NET_RESET: partial(self._network_for, toxiproxy.reset_peer()),
            Kind.NET_BLACK_HOLE: partial(self._network_for, toxiproxy.black_hole()),
            Kind.NET_SLOW_CLOSE: self._close_slowly,
            Kind.NET_AWAY: self._cut_off,
            Kind.DISK_FULL: self._fill_disk,
            Kind.CLOCK_JUMPED: self._jump,
            Kind.CLOCK_LOST: self._lose_the_time,
        }

    async def _kill_job(self, fault: Fault) -> bool:
        live = await self._target(fault)
        if live is not None:
            live.crash()
            live.process.kill()
        return live is not None

    async def _stall_job(self, fault: Fault) -> bool:
        live = await self._target(fault)
        if live is None or live.process.pid is None:
            return False
        live.stalled_at = time.monotonic()
        signalled(live.process.pid, signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        if live.running():
            signalled(live.process.pid, signal.SIGCONT)
            live.stalled_at = None
        return True

    async def _target(self, fault: Fault) -> LiveJob | None:
        return await self.scene.running_job(fault.target, time.monotonic() + TARGET_SECONDS)

    @contextlib.asynccontextmanager
    async def _worker_away(self, seconds: float) -> AsyncIterator[None]:
        """Let the block take the worker away; start it again `seconds` after that."""
        async with self.scene.stopping:
            yield
            await asyncio.sleep(seconds)
            self.scene.start_worker()

    async def _kill_worker(self, fault: Fault) -> bool:
        async with self._worker_away(fault.seconds):
            self.scene.worker.process.kill()
            self.scene.worker.process.join()
        return True

    async def _stall_worker(self, fault: Fault) -> bool:
        async with self.scene.stopping:
            pid = self.scene.worker.pid
            signalled(pid, signal.SIGSTOP)
            await asyncio.sleep(fault.seconds)
            signalled(pid, signal.SIGCONT)
        return True

    async def _kill_group(self, fault: Fault, *, torn: bool) -> bool:
        async with self._worker_away(fault.seconds):
            for live in self.scene.kill_group():
                if torn:
                    _tear(live.journal, fault.target)
        return True

    async def _stop_worker(self, fault: Fault, *, signals: int, group: bool = False) -> bool:
        async with self._worker_away(fault.seconds):
            live = self.scene.worker
            for _ in range(signals):
                signalled(live.pid, signal.SIGTERM, group=group)
                await asyncio.sleep(_TWICE_SECONDS)
            await self.scene.stopped(live)
        return True

    async def _postgres_for(
        self, worse: Callable[[], None], better: Callable[[], None] | None, fault: Fault
    ) -> bool:
        async with self._postgres:
            await asyncio.to_thread(worse)
            if better is not None:
                await asyncio.sleep(fault.seconds)
                await asyncio.to_thread(better)
        return True

    async def _network_for(self, toxic: Toxic, fault: Fault) -> bool:
        async with self._network:
            name = await asyncio.to_thread(self.proxy.add, toxic)
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(self.proxy.remove, name)
        return True

    async def _close_slowly(self, fault: Fault) -> bool:
        """Let the worker learn late that its connections were closed."""
        async with self._network:
            name = await asyncio.to_thread(self.proxy.add, toxiproxy.slow_close(fault.seconds))
            async with self._postgres:
                await asyncio.to_thread(self.database.cut)
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(self.proxy.remove, name)
        return True

    async def _cut_off(self, fault: Fault) -> bool:
        """Be away for longer than a lease: refusing connections, or swallowing all that is sent."""
        async with self._network:
            if fault.target % 2:
                await asyncio.to_thread(self.proxy.disable)
                await asyncio.sleep(fault.seconds)
                await asyncio.to_thread(self.proxy.enable)
            else:
                name = await asyncio.to_thread(self.proxy.add, toxiproxy.black_hole())
                await asyncio.sleep(fault.seconds)
                await asyncio.to_thread(self.proxy.remove, name)
        return True

    async def _fill_disk(self, fault: Fault) -> bool:
        if self.disk is None:
            return False
        async with self._disk:
            filler, since = self.disk / "filler", time.monotonic()
            await asyncio.to_thread(_fill, filler)
            await asyncio.sleep(fault.seconds)
            filler.unlink()
            self.full.append((since, time.monotonic()))
        return True

    async def _jump(self, fault: Fault) -> bool:
        """Let the clock jump; every other time it is put right later, whatever happened since."""
        hit = self.clock.jump(fault.jump)
        if fault.target % 2:
            await asyncio.sleep(fault.seconds)
            self.clock.jump(0.0)
        return hit

    async def _lose_the_time(self, fault: Fault) -> bool:
        """Kill the group, and let the clock jump: a moment before, or until the next start."""
        if self.clock.wrong is None:
            return False
        async with self._worker_away(fault.seconds):
            if fault.target % 2:
                self.clock.jump(fault.jump)
                await asyncio.sleep(_RUNS_ON_SECONDS)
            self.scene.kill_group()
            self.clock.jump(fault.jump)
        return True


def _tear(journal: Path, chance: int) -> None:
    """Leave at the end of a dead job's journal what a write leaves that was not finished.

    On a full disk that may be nothing at all.
    """
    try:
        lock = try_lock(journal, os.O_RDWR)
    except FileNotFoundError:
        return
    if lock is None:  # somebody is recovering it already
        return
    torn = b'1a2b3c4d {"kind":"turn","at":"20' if chance % 2 else b"\0" * 100
    before = os.fstat(lock.fd)
    try:
        os.pwrite(lock.fd, torn, before.st_size)
        # the kernel's clock is not the one that its job went by
        os.utime(lock.fd, ns=(before.st_atime_ns, before.st_mtime_ns))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        lock.close()


def _fill(filler: Path) -> None:
    """Leave not one free page."""
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 65536):
            pass
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 512):
            pass
