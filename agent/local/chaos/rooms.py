"""One room campaign: clients speak with agents in rooms while things break, then it is judged."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from livekit import api

from agent.local import toxiproxy
from agent.local.chaos import room_truth
from agent.local.chaos.deployment import GRACE_SECONDS, Deployment
from agent.local.chaos.plan import Campaign, Fault, Kind, Talk
from agent.local.chaos.room_truth import Room
from agent.local.chaos.verdict import Finding
from agent.local.chaos.verdict import Kind as Wrong
from agent.local.processes import Child, ChildDiedError
from agent.local.toxiproxy import Toxic

SETTLE_SECONDS = 60.0
"""In which everything is in Postgres once nothing is broken and everybody has left."""
CALLS_SECONDS = 120.0
"""In which every client has said what it had to say, or has given up."""
_LOOK_SECONDS = 0.1

_PROVIDERS: Mapping[Kind, dict[str, Any]] = {
    Kind.STT_DROPPED: {"stage": "stt", "kind": "drop"},
    Kind.STT_GARBAGE: {"stage": "stt", "kind": "garbage"},
    Kind.STT_SLOW: {"stage": "stt", "kind": "delay", "seconds": 1.0},
    Kind.LLM_DROPPED: {"stage": "llm", "kind": "drop"},
    Kind.LLM_BUSY: {"stage": "llm", "kind": "status", "status": 429},
    Kind.LLM_FAILED: {"stage": "llm", "kind": "status", "status": 500},
    Kind.LLM_HANGS: {"stage": "llm", "kind": "hang"},
    Kind.LLM_GARBAGE: {"stage": "llm", "kind": "garbage"},
    Kind.TTS_DROPPED: {"stage": "tts", "kind": "drop"},
    Kind.TTS_FAILED: {"stage": "tts", "kind": "status", "status": 500},
    Kind.TTS_GARBAGE: {"stage": "tts", "kind": "garbage"},
}

Break = Callable[[Fault], Awaitable[bool]]


@dataclass
class Playing:
    """A campaign under way."""

    deployment: Deployment
    campaign: Campaign
    folder: Path
    rooms: list[Room] = field(default_factory=list)
    callers: dict[str, Child] = field(default_factory=dict)
    deaf: list[tuple[float, float]] = field(default_factory=list)
    """From when to when the recogniser was told to fail, by `time.time()`."""
    _log_start: int = 0
    _worker: asyncio.Lock = field(default_factory=asyncio.Lock)
    _postgres: asyncio.Lock = field(default_factory=asyncio.Lock)
    _network: asyncio.Lock = field(default_factory=asyncio.Lock)
    _livekit: asyncio.Lock = field(default_factory=asyncio.Lock)

    def said(self) -> list[dict[str, Any]]:
        """Return what went over the providers' wire in this campaign."""
        return self.deployment.said(self._log_start)

    async def act(self) -> Counter[Kind]:
        """Play the plan until everybody has left; return how often what hit something."""
        self._log_start = len(self.deployment.said())
        await self._worker_ready()
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for talk in self.campaign.talks:
                group.create_task(self._hold(talk, began + talk.begins))
            happening = [
                group.create_task(self._happen(fault, began + fault.at))
                for fault in self.campaign.faults
            ]
        return Counter(kind for task in happening if (kind := task.result()) is not None)

    async def settle(self) -> list[Finding]:
        """Let everything come to its end, nothing being broken; return what did not."""
        self.deployment.heal()
        self.deployment.clock.jump(0.0)
        await asyncio.to_thread(self.deployment.proxy.heal)
        for caller in self.callers.values():
            self.deployment.children.stop(caller, 1)
        deadline = time.monotonic() + SETTLE_SECONDS
        while left := self._unsettled():
            if time.monotonic() > deadline:
                return [Finding(Wrong.NOT_ENDED, "campaign", left)]
            await asyncio.sleep(_LOOK_SECONDS)
        return []

    def _unsettled(self) -> str | None:
        if journals := len(self.deployment.journals()):
            return f"{journals} journals are not shipped"
        names = [room.name for room in self.rooms]
        waiting = self.deployment.database.query(room_truth.WAITING, {"rooms": names})[0]["waiting"]
        return f"{waiting} jobs have not run" if waiting else None

    async def _worker_ready(self) -> None:
        while not self.deployment.ready():  # noqa: ASYNC110 another process's doing
            await asyncio.sleep(_LOOK_SECONDS)

    async def _hold(self, talk: Talk, at: float) -> None:
        """Hold one call to its end."""
        await asyncio.sleep(at - time.monotonic())
        name = f"{self.campaign.number}-{talk.number}-{secrets.token_hex(4)}"
        room = Room(name, talk, self.folder / f"talk-{talk.number}.jsonl")
        deadline = time.monotonic() + CALLS_SECONDS
        await self._make(room, deadline)
        self._call(room)
        self.rooms.append(room)
        while not room.over and (self.callers[name].running() or room.away):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        room.over = True

    async def _make(self, room: Room, deadline: float) -> None:
        """Make a room as soon as there is a LiveKit server."""
        while True:
            try:
                return await self.deployment.make_room(room.name, room.talk)
            except (aiohttp.ClientError, api.TwirpError, TimeoutError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_LOOK_SECONDS)

    def _call(self, room: Room) -> None:
        ids = [int(line.pieces[0]) for line in room.talk.lines]
        self.callers[room.name] = self.deployment.call(room.name, room.client, ids, room.record)

    async def _happen(self, fault: Fault, at: float) -> Kind | None:
        await asyncio.sleep(at - time.monotonic())
        return fault.kind if await self._ways()[fault.kind](fault) else None

    def _ways(self) -> Mapping[Kind, Break]:
        database = self.deployment.database
        ways: dict[Kind, Break] = {
            Kind.JOB_KILLED: self._kill_job,
            Kind.WORKER_KILLED: partial(self._kill_worker, group=False),
            Kind.GROUP_KILLED: partial(self._kill_worker, group=True),
            Kind.SIGTERM: partial(self._stop_worker, group=False),
            Kind.SIGTERM_GROUP: partial(self._stop_worker, group=True),
            Kind.POSTGRES_KILLED: partial(self._postgres_for, database.kill, database.start),
            Kind.POSTGRES_RESTARTED: partial(self._postgres_for, database.restart, None),
            Kind.CONNECTIONS_CUT: partial(self._postgres_for, database.cut, None),
            Kind.NET_RESET: partial(self._network_for, toxiproxy.reset_peer()),
            Kind.NET_BLACK_HOLE: partial(self._network_for, toxiproxy.black_hole()),
            Kind.NET_LATENCY: partial(self._network_for, toxiproxy.latency(0.2, 0.1)),
            Kind.CLOCK_JUMPED: self._jump,
            Kind.LIVEKIT_KILLED: self._kill_livekit,
            Kind.CLIENT_VANISHED: partial(self._lose_client, back=False),
            Kind.CLIENT_BACK: partial(self._lose_client, back=True),
        }
        return ways | dict.fromkeys(_PROVIDERS, self._fail_provider)

    def _underway(self) -> list[Room]:
        return [room for room in self.rooms if not room.over]

    async def _kill_job(self, fault: Fault) -> bool:
        jobs = await asyncio.to_thread(self.deployment.jobs)
        if not jobs:
            return False
        self._all_die()
        _kill(jobs[fault.target % len(jobs)])
        return True

    def _all_die(self) -> None:
        """Note that jobs are being killed now; which room's, nobody looks up first."""
        for room in self.rooms:
            room.died.append(time.time())

    async def _kill_worker(self, fault: Fault, *, group: bool) -> bool:
        async with self._worker:
            worker = self.deployment.worker
            family = psutil.Process(worker.process.pid).children(recursive=True) if group else []
            self._all_die()
            worker.process.kill()
            for member in family:
                _kill(member)
            await self._again(worker, fault.seconds)
        return True

    async def _stop_worker(self, fault: Fault, *, group: bool) -> bool:
        async with self._worker:
            worker = self.deployment.worker
            for room in self.rooms:
                room.told_to_end = True
            try:
                (os.killpg if group else os.kill)(worker.process.pid, signal.SIGTERM)
            except ProcessLookupError:
                raise ChildDiedError(worker) from None
            while worker.running():  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_SECONDS)
            await self._again(worker, fault.seconds)
        return True

    async def _again(self, worker: Child, seconds: float) -> None:
        """Start a worker again in place of one that is gone, and wait for it."""
        await asyncio.sleep(seconds)
        worker.process.wait()
        self.deployment.clock.jump(0.0)  # LiveKit lets nobody in whose clock is wrong
        self.deployment.start_worker()
        await self._worker_ready()

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
            name = await asyncio.to_thread(self.deployment.proxy.add, toxic)
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(self.deployment.proxy.remove, name)
        return True

    async def _jump(self, fault: Fault) -> bool:
        hit = self.deployment.clock.jump(fault.jump)
        await asyncio.sleep(fault.seconds)
        self.deployment.clock.jump(0.0)
        return hit

    async def _kill_livekit(self, fault: Fault) -> bool:
        async with self._livekit:
            for room in self.rooms:
                room.cut_off = True
            self.deployment.kill_livekit()
            await asyncio.sleep(fault.seconds)
            self.deployment.start_livekit()
        return True

    async def _lose_client(self, fault: Fault, *, back: bool) -> bool:
        underway = [r for r in self._underway() if not r.away and self.callers[r.name].running()]
        if not underway:
            return False
        room = underway[fault.target % len(underway)]
        room.away = back
        caller = self.callers[room.name]
        self.deployment.children.stop(caller, 0)
        if back:
            await asyncio.sleep(min(fault.seconds, GRACE_SECONDS / 2))
            self._call(room)
            room.away = False
        return True

    async def _fail_provider(self, fault: Fault) -> bool:
        """Let the next call of that kind fail, of whichever room it is."""
        if not self._underway():
            return False
        how, since = _PROVIDERS[fault.kind], time.time()
        await asyncio.to_thread(self.deployment.fail, how)
        if how["stage"] == "stt":
            self.deaf.append((since, time.time()))
        for room in self.rooms:
            room.unanswered = True
        return True


def _kill(process: psutil.Process) -> None:
    """Kill a process, unless it has ended meanwhile."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
