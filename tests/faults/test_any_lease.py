"""However renewals, lapses, reclaims and shipping meet: who lives keeps its sessions.

Two workers with real shippers and a real Postgres. What a reclaim takes is exactly what belongs to
workers without a live lease; what it took comes back with its worker; a true end stays.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest
from any_journals import Script, Written
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from shipping import nothing, until

from persistence import database, liveness
from persistence.deferring import Db
from persistence.events import EndReason
from persistence.liveness import Lease
from persistence.shipper import Shipper

T = TypeVar("T")

SECONDS = 20
NUMBERS = st.integers(0, 1)
EMPTY = "DELETE FROM sessions; DELETE FROM worker_leases"
WAITING = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = %s"
RUN_OUT = "UPDATE worker_leases SET expires_at = clock_timestamp() WHERE worker_id = %s"
ROWS = """
SELECT id, CASE WHEN reclaimed_at IS NOT NULL THEN 'reclaimed' WHEN status = 'active' THEN 'active'
    ELSE 'ended' END FROM sessions
"""


class Held(StrEnum):
    NEVER = "never"
    LIVE = "live"
    LAPSED = "lapsed"


class Row(StrEnum):
    """What Postgres is to hold of a session."""

    NONE = "none"
    ACTIVE = "active"
    RECLAIMED = "reclaimed"
    ENDED = "ended"


class Worker:
    def __init__(self, url: str, folder: Path) -> None:
        self.worker_id = uuid4()
        self.folder = folder
        self.shipper = Shipper([folder], url, self.worker_id, nothing, poll_seconds=0.05)
        self.lease = Lease(url, self.worker_id, seconds=60, renewal_seconds=10, lapsed=self._lapsed)
        self.held = Held.NEVER
        self.lapses: list[None] = []
        """What its lease told it since it was renewed last."""

    def _lapsed(self) -> None:
        self.lapses.append(None)
        self.shipper.reassert()


@dataclass
class Known:
    """A session, what is to be stored of it, and whether more of it is on disk."""

    written: Written
    script: Script
    row: Row = Row.NONE
    more: bool = True


class Leases(RuleBasedStateMachine):
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory(prefix="voice-coach-test-", dir="/tmp")
        self.loop = asyncio.new_event_loop()
        self.db = psycopg.connect(self.url, autocommit=True)
        self.db.execute(EMPTY)
        self.workers: list[Worker] = []
        self.running: list[asyncio.Task[None]] = []
        self.sessions: list[Known] = []
        self.do(self._begin())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 3 * SECONDS))

    async def _begin(self) -> None:
        self.reclaimer = await database.connect(self.url, "test")
        for number in range(2):
            folder = Path(self.place.name) / str(number)
            folder.mkdir()
            worker = Worker(self.url, folder)
            self.running.append(asyncio.create_task(worker.shipper.run()))
            self.workers.append(worker)

    def of(self, number: int) -> list[Known]:
        return [known for known in self.sessions if known.written.worker == number]

    # sessions

    @precondition(lambda self: len(self.sessions) < 4)
    @rule(number=NUMBERS)
    def begin(self, number: int) -> None:
        session_id = uuid4()
        path = self.workers[number].folder / f"{session_id}.journal"
        written = Written(len(self.sessions), number, session_id, path)
        known = Known(written, Script(written))
        written.open()
        written.write(known.script.start())
        self.sessions.append(known)
        self.ship(number)

    @rule(number=NUMBERS, kind=st.sampled_from(["client", "marker", "segment", "progress"]))
    def say(self, number: int, kind: str) -> None:
        """One event in each session of a worker; any kind of it takes a reclaim back."""
        for known in self.of(number):
            if known.written.alive:
                known.written.write(*known.script.make(kind))
                known.more = True
        self.ship(number)

    @precondition(lambda self: any(known.written.alive for known in self.sessions))
    @rule(data=st.data(), reason=st.sampled_from([EndReason.CLIENT_LEFT, EndReason.ERROR]))
    def end(self, data: st.DataObject, reason: EndReason) -> None:
        alive = [known for known in self.sessions if known.written.alive]
        known = data.draw(st.sampled_from(alive), label="session")
        self._end(known, reason)

    def _end(self, known: Known, reason: EndReason) -> None:
        if known.written.alive:
            known.written.write(known.script.end(reason))
            known.written.leave()
            known.more = True
            self.ship(known.written.worker)

    def ship(self, number: int) -> None:
        assert self.do(self.workers[number].shipper.flushed(SECONDS)) == 0
        for known in self.of(number):
            if known.more:
                known.row = Row.ACTIVE if known.written.alive else Row.ENDED
                known.more = False

    # leases

    @rule(number=NUMBERS)
    def renew(self, number: int) -> None:
        self.do(self._renew(self.workers[number]))
        self._came_back(number)

    @rule(number=NUMBERS)
    def lapse(self, number: int) -> None:
        """The lease runs out: its worker was away for that long."""
        worker = self.workers[number]
        self.db.execute(RUN_OUT, [worker.worker_id])
        if worker.held is Held.LIVE:
            worker.held = Held.LAPSED

    @rule()
    def reclaim(self) -> None:
        self._taken(self.do(liveness.reclaim(self.reclaimer, nothing)))

    @rule(number=NUMBERS)
    def reclaim_while_renewing(self, number: int) -> None:
        """The renewal was first: the reclaim passes its lease over, or waits and finds it live."""
        worker = self.workers[number]
        taken = self.do(self._reclaim_while_renewing(worker))
        assert not {known.written.session_id for known in self.of(number)} & set(taken)
        self._came_back(number)
        self._taken(taken)

    @rule(number=NUMBERS)
    def renew_while_reclaiming(self, number: int) -> None:
        """The reclaim was first: the renewal waits, and learns that the lease had lapsed."""
        taken = self.do(self._renew_while_reclaiming(self.workers[number]))
        self._taken(taken)
        self._came_back(number)

    # what is to be true

    @invariant()
    def rows_are_as_they_have_to_be(self) -> None:
        rows = {session_id: Row(row) for session_id, row in self.db.execute(ROWS)}
        assert rows == {known.written.session_id: known.row for known in self.sessions}

    def _taken(self, taken: list[UUID]) -> None:
        """What a reclaim took is all that is active and whose worker has no live lease."""
        lost = [
            known
            for known in self.sessions
            if known.row is Row.ACTIVE and self.workers[known.written.worker].held is not Held.LIVE
        ]
        assert sorted(taken) == sorted(known.written.session_id for known in lost)
        for known in lost:
            known.row = Row.RECLAIMED

    def _came_back(self, number: int) -> None:
        """A renewal tells a lapse, and a lapse alone; with it all that lives is active again."""
        worker = self.workers[number]
        assert len(worker.lapses) == (worker.held is not Held.LIVE)
        if worker.lapses:
            alive = [known for known in self.of(number) if known.written.alive]
            self.do(self._active([known.written.session_id for known in alive]))
            self.say(number, "marker")  # when this is stored the shipper has said all it had to
        worker.held = Held.LIVE

    # how it is done

    async def _renew(self, worker: Worker) -> None:
        worker.lapses.clear()
        await worker.lease.renew()

    async def _reclaim_while_renewing(self, worker: Worker) -> list[UUID]:
        await self._connected(worker)
        assert worker.lease._db is not None
        async with worker.lease._db.transaction():
            await self._renew(worker)
            reclaiming = asyncio.create_task(liveness.reclaim(self.reclaimer, nothing))
            await self._done_or_waiting(reclaiming, self.reclaimer)
        return await reclaiming

    async def _renew_while_reclaiming(self, worker: Worker) -> list[UUID]:
        await self._connected(worker)
        renewing: list[asyncio.Task[None]] = []

        async def renew_meanwhile(db: Db, ids: Sequence[UUID], /, *, delay: timedelta) -> None:
            renewing.append(asyncio.create_task(self._renew(worker)))
            await self._done_or_waiting(renewing[0], worker.lease._db)

        taken = await liveness.reclaim(self.reclaimer, renew_meanwhile)
        await (renewing[0] if renewing else self._renew(worker))
        return taken

    async def _connected(self, worker: Worker) -> None:
        if worker.lease._db is None:
            worker.lease._db = await database.connect(self.url, "lease")

    async def _done_or_waiting(self, task: asyncio.Task[Any], db: Db | None) -> None:
        """Wait until `task` is over, or waits for a lock on the connection `db`."""
        assert db is not None
        pid = db.info.backend_pid
        await until(lambda: task.done() or self._waits(pid))

    def _waits(self, pid: int) -> bool:
        return self.db.execute(WAITING, [pid]).fetchone() is not None

    async def _active(self, session_ids: list[UUID]) -> None:
        await until(lambda: all(self._status(one) == "active" for one in session_ids))

    def _status(self, session_id: UUID) -> str | None:
        found = self.db.execute("SELECT status FROM sessions WHERE id = %s", [session_id])
        row = found.fetchone()
        return row[0] if row else None

    def teardown(self) -> None:
        try:
            for known in self.sessions:
                self._end(known, EndReason.CLIENT_LEFT)
            assert {known.row for known in self.sessions} <= {Row.ENDED}
            assert self.do(liveness.reclaim(self.reclaimer, nothing)) == []
            self.rows_are_as_they_have_to_be()
        finally:
            self.do(self._close())
            self.loop.close()
            self.db.close()
            self.place.cleanup()

    async def _close(self) -> None:
        for worker in self.workers:
            worker.shipper.stop()
            await worker.lease._disconnect()
        await asyncio.gather(*self.running)
        await self.reclaimer.close()
        for known in self.sessions:
            if known.written.alive:
                known.written.leave()


def converge(url: str, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        type("Leases", (Leases,), {"url": url}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_meeting_of_leases_and_reclaims_leaves_the_living_alone(database_url: str) -> None:
    converge(database_url, examples=20, steps=20)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_many_meetings_of_leases_and_reclaims_leave_the_living_alone(database_url: str) -> None:
    converge(database_url, examples=1500, steps=40)
