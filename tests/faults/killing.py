"""Processes of a worker to be killed, and what has to be left of a session in spite of it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from deployment import WITHIN, Deployment, Row, eventually, greeted
from truth import spoken_in_room

from agent.jobs.summary import MIN_TURNS
from agent.local.chaos.verdict import HEARD_SECONDS, Finding, Spoken, Stored, judge
from agent.local.client import RoomClient
from agent.local.processes import Child
from agent.worker.people import AI
from persistence import audit
from persistence.database import connect
from persistence.events import Role

IDENTITY = "client-7"


def jobs_of(worker: Child) -> list[psutil.Process]:
    """Return the job processes of a worker: forked by its forkserver, each holding a journal."""
    return [p for p in descendants(worker) if any(".journal" in name for name in _open(p))]


def _open(process: psutil.Process) -> Iterator[str]:
    """Yield what a process has open; psutil shows no file of another mount namespace."""
    with contextlib.suppress(OSError):
        for file in Path(f"/proc/{process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(file.readlink())


def descendants(worker: Child) -> list[psutil.Process]:
    return list(psutil.Process(worker.process.pid).children(recursive=True))


def kill_group(deployment: Deployment, worker: Child) -> None:
    """Kill all of a worker at once, as with a machine that loses power."""
    os.killpg(worker.process.pid, signal.SIGKILL)
    reap(deployment, worker)


def kill_parent(deployment: Deployment, worker: Child) -> None:
    """Kill the worker's own process alone."""
    worker.process.kill()
    reap(deployment, worker)


def reap(deployment: Deployment, worker: Child) -> None:
    worker.process.wait()
    deployment.workers.remove(worker)


@dataclass
class Scene:
    """One room with one client, and what was really said in it: the witness is not the worker."""

    deployment: Deployment
    room: str
    client: RoomClient
    log_start: int
    killed_at: float | None = None
    """By the clock of the provider's log."""
    _captions: dict[str, str] = field(default_factory=dict)
    _session: UUID | None = None
    _left: bool = False

    def log(self) -> list[dict[str, Any]]:
        """Return what the providers' stand-in heard and said, since this room was made, in it.

        After a kill it is another agent, of another session, that speaks here; and what a summary
        is made of is not spoken.
        """
        return [
            entry
            for entry in self.deployment.providers.log()[self.log_start :]
            if entry["at"] <= (self.killed_at or math.inf)
            and not entry.get("text", "").startswith("{")
        ]

    async def heard(self, id_: int) -> None:
        """Wait until the recogniser has sent the final text of an utterance."""

        async def sent() -> bool:
            return any(e["event"] == "heard" and id_ in e["ids"] for e in self.log())

        await eventually(sent)

    async def row(self) -> Row:
        """Wait until the session has its row; after a kill another agent may begin a second one.

        The first that is seen is the one: when others began, is by clocks that may be wrong.
        """
        first = "SELECT * FROM sessions WHERE room_name = %s AND id = coalesce(%s, id)"
        seen = f"{first} ORDER BY started_at LIMIT 1"
        query = self.deployment.query
        row: Row = (await eventually(lambda: query(seen, self.room, self._session)))[0]
        self._session = row["id"]
        return row

    async def turns(self, count: int) -> None:
        """Wait until so many turns are stored."""

        async def enough() -> bool:
            return len(await self.deployment.turns(self.room)) >= count

        await eventually(enough)

    async def leave(self) -> None:
        """Have the client hang up; a second time does nothing."""
        if not self._left:
            self._left = True
            await self.client.leave()

    async def kill(self, *victims: Callable[[], object]) -> None:
        """Do what kills, when what was heard by now has to be safe: after 500 ms."""
        self._captions = {c.segment_id: c.text for c in self.client.captions.values()}
        await asyncio.sleep(HEARD_SECONDS)
        self.killed_at = time.time()
        for kill in victims:
            kill()

    async def spoken(self) -> list[Spoken]:
        """Return what was said, and how much of it has to be there."""
        session = await self.row()
        away = [(self.killed_at, math.inf)] if self.killed_at is not None else []
        pieces = spoken_in_room(
            str(session["id"]), self.log(), self.client, identity=IDENTITY, away=away
        )
        return [self._with_captions(p) if p.role is Role.AI else p for p in pieces]

    def _with_captions(self, piece: Spoken) -> Spoken:
        """Return the AI's reply with the words that its client had read 500 ms before the kill."""
        if self.killed_at is None:
            return replace(piece, kept=None)
        read = [text for text in self._captions.values() if text and piece.text.startswith(text)]
        return replace(piece, kept=max(read, key=len, default=""))

    async def wrong(self) -> list[Finding]:
        """Return all that is wrong with the stored turns."""
        session = await self.row()
        turns = [
            t for t in await self.deployment.turns(self.room) if t["session_id"] == session["id"]
        ]
        stored = [
            Stored(
                str(t["session_id"]),
                Role(t["role"]),
                t["text"],
                t["speaker_identity"] if t["role"] != AI.role else None,
                t["interrupted"],
            )
            for t in turns
        ]
        return judge(await self.spoken(), stored)

    async def ended(self, within: float = WITHIN) -> Row:
        """Return the session once it has ended, with its receipt and its jobs held to account."""

        async def over() -> Row | None:
            found = await self.row()
            return found if found["ended_at"] else None

        session: Row = await eventually(over, within)
        async with await connect(self.deployment.database_url, "test") as db:
            broken = [found.session_id async for found in audit.findings(db)]
        assert session["id"] not in broken
        (follows,) = await self.deployment.query(_FOLLOWS, *2 * [session["id"]])
        expected = int(session["turn_count"] >= MIN_TURNS)
        assert max(follows.values()) == expected, follows
        return session


_FOLLOWS = """
SELECT (SELECT count(*) FROM procrastinate_jobs WHERE args->>'session_id' = %s::text) AS waiting,
    (SELECT count(*) FROM analysis_runs WHERE session_id = %s::uuid) AS made
"""
"""What follows a session: a job that has succeeded is deleted, its analysis is there by then."""


Moment = Callable[[Scene], Awaitable[None]]
Stage = Callable[..., Awaitable[Scene]]


@pytest.fixture
async def stage(deployment: Deployment) -> AsyncIterator[Stage]:
    """Sets scenes: a client joins a new room, where the coach has greeted if it is to.

    Whoever is left in a room afterwards goes, and so does every worker.
    """
    scenes: list[Scene] = []

    async def scene(
        room: str, *, greeting: bool = True, deployment: Deployment = deployment
    ) -> Scene:
        log_start = len(deployment.providers.log())
        await deployment.make_room(room)
        client = await deployment.client(room, IDENTITY)
        scenes.append(Scene(deployment, room, client, log_start))
        if greeting:
            await greeted(client)
        return scenes[-1]

    yield scene
    deployment.providers.clear()
    for one in scenes:
        await one.leave()
    for place in [deployment, *(one.deployment for one in scenes)]:
        for worker in list(place.workers):
            place.stop_worker(worker)


def outcome(session: Row) -> tuple[str, str, str]:
    return session["status"], session["end_reason"], session["completeness"]
