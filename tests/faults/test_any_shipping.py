"""However jobs, shippers, workers and Postgres die and meet, the rows are those of a straight run.

A state machine writes journals as jobs do and ships them through wires that break between any two
messages, with crashes, partitions, reclaims, erasures and dead letters in any order. In the end all
is healed, and every row is compared with what one undisturbed shipper makes of the same journals in
a database of its own, and with what was written.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest
from any_journals import ANYTHING, BLOCKED, COACH, KINDS, Script, Written
from breaking_wire import Break, Wire
from databases import fresh_database
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.rows import dict_row
from shipping import everything, ship

from persistence import batches, database, deadletters, liveness, tombstones
from persistence.deferring import Db
from persistence.events import CANCELLING, Ended, EndReason, Turn
from persistence.journal.lines import encode
from persistence.shipper import Shipper

T = TypeVar("T")
Held: TypeAlias = dict[str, list[dict[str, Any]]]
Job: TypeAlias = tuple[Written, Script]
SPEECH = st.lists(st.sampled_from(ANYTHING), min_size=1, max_size=5)

WORKERS = 2
SECONDS = 20
"""How long shipping may take where nothing stands in its way."""
ERASED_WITH_A_SESSION = (
    "DELETE FROM sessions WHERE id = %s",
    "DELETE FROM dead_letters WHERE session_id = %s",
)
BLOCKER = uuid4()
"""A session of nobody, whose turns have the ids of others."""
OF_THE_WAY = ("worker_id", "attempts")
"""Of a dead letter: by whom and how often it was tried."""
FROM_OUTSIDE = (EndReason.CLIENT_LEFT, EndReason.MAX_DURATION, EndReason.ERROR)
DEATHS = ("error", "worker_lost")

TABLES = """
CREATE TABLE IF NOT EXISTS deferred (
    number bigserial, session_id uuid, delayed boolean, transcript text)
"""
EMPTY = """
DELETE FROM sessions; DELETE FROM dead_letters; DELETE FROM tombstones; DELETE FROM users;
DELETE FROM worker_leases; DELETE FROM deferred
"""
TRANSCRIPT = """
INSERT INTO deferred (session_id, delayed, transcript)
SELECT %(id)s, %(delayed)s, md5(COALESCE(string_agg(seq || text, ',' ORDER BY seq), ''))
FROM turns WHERE session_id = %(id)s
"""
STORED_TRANSCRIPT = """
SELECT md5(COALESCE(string_agg(seq || text, ',' ORDER BY seq), '')) AS transcript FROM turns
WHERE session_id = %s
"""


async def deferred(db: Db, session_ids: Sequence[UUID], *, delay: timedelta = timedelta(0)) -> None:
    """Note that jobs were deferred, and over which transcript, in the same transaction."""
    for session_id in session_ids:
        await db.execute(TRANSCRIPT, {"id": session_id, "delayed": bool(delay)})


@dataclass
class Worker:
    """One worker's folder, its way to Postgres, and the shippers that look after the folder."""

    number: int
    folder: Path
    wire: Wire
    worker_id: UUID = field(default_factory=uuid4)
    shipper: Shipper | None = None
    running: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, worker_id: UUID | None = None) -> Shipper:
        """Begin to ship; what went before keeps running unless it was ended."""
        owner = worker_id or self.worker_id
        self.shipper = Shipper([self.folder], self.wire.url, owner, deferred, poll_seconds=0.05)
        self.running.append(asyncio.create_task(self.shipper.run()))
        return self.shipper

    async def crash(self) -> None:
        """End as a kill does: nothing is finished, nothing is said."""
        self.shipper = None
        for task in self.running:
            task.cancel()
        ends = await asyncio.gather(*self.running, return_exceptions=True)
        self.running = []
        await self.wire.hang_up()
        assert all(isinstance(end, asyncio.CancelledError | None) for end in ends), ends


class Shipping(RuleBasedStateMachine):
    """Rules are what may happen; `url` and `straight_url` are two databases, for all examples."""

    url: str
    straight_url: str

    living = Bundle("living")

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory(prefix="voice-coach-test-", dir="/tmp")
        self.loop = asyncio.new_event_loop()
        self.db = psycopg.connect(self.url, autocommit=True, row_factory=dict_row)
        self.db.execute(EMPTY)
        self.room = pytest.MonkeyPatch()
        self.sessions: list[Job] = []
        self.workers: list[Worker] = []
        self.true_ends: dict[UUID, dict[str, Any]] = {}
        self.erased: dict[UUID, str | None] = {}
        self.coach_erased = False
        self.blocks = False
        self.known: set[int] = set()
        self.met_late: set[UUID] = set()
        self.do(self._begin_workers())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 3 * SECONDS))

    async def _begin_workers(self) -> None:
        for number in range(WORKERS):
            folder = Path(self.place.name) / str(number)
            (folder / "wire").mkdir(parents=True)
            wire = await Wire(self.url, folder / "wire", self.db).__aenter__()
            self.workers.append(Worker(number, folder, wire))
        self.other = await database.connect(self.url, "test")

    @initialize(
        target=living,
        openings=st.lists(SPEECH, min_size=1, max_size=2),
        rows=st.sampled_from([3, batches.BATCH_ROWS]),
    )
    def begin_with(self, openings: list[list[str]], rows: int) -> MultipleResults[Job]:
        """Something was said before the trouble begins; a batch has room for much or for little."""
        self.room.setattr(batches, "BATCH_ROWS", rows)
        self.room.setattr(liveness, "SESSIONS_AT_ONCE", 1 if rows == 3 else rows)
        jobs = [self._begin(number % WORKERS, "y") for number, _ in enumerate(openings)]
        for job, kinds in zip(jobs, openings, strict=True):
            self.say(job, kinds, shipped=False)
        return multiple(*jobs)

    # what jobs do

    @precondition(lambda self: len(self.sessions) < 3)
    @rule(target=living, number=st.integers(0, WORKERS - 1), start=st.sampled_from("yyyn"))
    def begin(self, number: int, start: str) -> Job:
        """A job begins; one in four journals lost its first line to the disk."""
        return self._begin(number, start)

    def _begin(self, number: int, start: str) -> Job:
        session_id = uuid4()
        path = self.workers[number].folder / f"{session_id}.journal"
        written = Written(len(self.sessions), number, session_id, path)
        job = written, Script(written)
        self.sessions.append(job)
        written.open()
        if start == "y":
            written.write(job[1].start())
        return job

    @rule(
        job=living,
        kinds=SPEECH,
        shipped=st.booleans(),
    )
    def say(self, job: Job, kinds: list[str], shipped: bool) -> None:
        written, script = job
        for kind in kinds:
            events = list(script.make(kind))
            if kind == BLOCKED:
                self._block(written.blocked[-1])
            written.write(*events)
        if shipped:
            self.ship(written.worker)

    @rule(job=living, size=st.integers(1, 40))
    def rot(self, job: Job, size: int) -> None:
        """A line goes bad on disk; the next one is good."""
        written, script = job
        bad = b"x" * size + b"\n"
        written.damage += len(bad)
        [event] = script.make("client")
        written.events.append(event)
        written.put(bad + encode(event))

    @rule(job=living, at=st.integers(1, 100), number=st.integers(0, WORKERS - 1))
    def write_haltingly(self, job: Job, at: int, number: int) -> None:
        """A reader meets half a line, then the rest of it."""
        written, script = job
        [event] = script.make("client")
        line = encode(event)
        written.put(line[:at])
        self.ship(number)
        written.put(line[at:])
        written.events.append(event)

    @rule(job=living, kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    def write_again(self, job: Job, kinds: list[str]) -> None:
        """A sync fails after a reader saw the lines: they are cut, and come again as they were."""
        written, script = job
        lines = [list(script.make(kind)) for kind in kinds]
        data = b"".join(encode(event) for events in lines for event in events)
        written.put(data)
        self.ship(written.worker)
        written.cut(len(data))
        self.ship(written.worker)
        written.write(*(event for events in lines for event in events))

    @rule(job=consumes(living), reason=st.sampled_from(FROM_OUTSIDE))
    def end(self, job: Job, reason: EndReason) -> None:
        written, script = job
        written.write(script.end(reason))
        written.leave()

    @rule(job=consumes(living), torn=st.sampled_from([b"", b"0", b"deadbeef {", b"\xff"]))
    def kill_job(self, job: Job, torn: bytes) -> None:
        job[0].die(torn)

    @rule(job=consumes(living), leftover=st.binary(max_size=3))
    def kill_recovery(self, job: Job, leftover: bytes) -> None:
        """A job dies, and so does who was about to write its end."""
        job[0].die(b"half a li")
        job[0].path.with_suffix(".recovering").write_bytes(leftover)

    # what shippers do

    @rule(number=st.integers(0, WORKERS - 1))
    def ship(self, number: int) -> None:
        worker = self.workers[number]
        if not worker.wire.down:
            self.do(self._ship(worker))

    @rule(number=st.integers(0, WORKERS - 1))
    def restart(self, number: int) -> None:
        """All is read from its start, and what was left behind is ended first."""
        self.do(self._restart(self.workers[number]))

    @rule(number=st.integers(0, WORKERS - 1), by=st.integers(0, WORKERS - 1), ends=st.booleans())
    def adopt(self, number: int, by: int, ends: bool) -> None:
        """Another worker ships the folder, beside who did so or after that one died."""
        self.do(self._adopt(self.workers[number], self.workers[by].worker_id, ends=ends))

    @rule(
        number=st.integers(0, WORKERS - 1),
        message=st.integers(1, 150),
        how=st.sampled_from(Break),
        crash=st.booleans(),
        anew=st.booleans(),
    )
    def ship_until_broken(
        self, number: int, message: int, how: Break, crash: bool, anew: bool
    ) -> None:
        """The wire breaks in the middle; the shipper tries again, or dies in that moment."""
        worker = self.workers[number]
        if not worker.wire.down:
            self.do(self._ship_until_broken(worker, message, how, crash=crash, anew=anew))

    @rule(number=st.integers(0, WORKERS - 1), down=st.booleans())
    def partition(self, number: int, down: bool) -> None:
        self.do(self._partition(self.workers[number], down=down))

    # what happens in Postgres meanwhile

    @rule(gone=st.sets(st.integers(0, WORKERS - 1)))
    def reclaim(self, gone: set[int]) -> None:
        """The leases of some have run out, those of the others are renewed in time."""
        self.do(self._reclaim(gone))

    @rule(number=st.integers(0, WORKERS - 1))
    def come_back(self, number: int) -> None:
        """A worker renews its lease, and says of its sessions that they live."""
        worker = self.workers[number]
        if worker.wire.down:
            return
        self.do(self._come_back(worker))

    @rule(whom=st.sampled_from([COACH, 0, 1, 2]), by_name=st.booleans())
    def erase(self, whom: str | int, by_name: bool) -> None:
        """A session, a client or a coach is erased: what is there goes, the rest never comes."""
        if whom == COACH:
            self.coach_erased = True
            self.do(forbid(self.other, identity=COACH))
            self.db.execute("DELETE FROM turns WHERE speaker_identity = %s", [COACH])
        elif isinstance(whom, int) and whom < len(self.sessions):
            written = self.sessions[whom][0]
            by_name &= written.introduced
            self.erased[written.session_id] = written.client if by_name else None
            self.do(forbid(self.other, written.session_id, self.erased[written.session_id]))
            for table in ERASED_WITH_A_SESSION:
                self.db.execute(table, [written.session_id])

    @precondition(lambda self: any(job.blocked or job.poisoned for job, _ in self.sessions))
    @rule()
    def retry(self) -> None:
        """Somebody puts the dead letters through before anything was done about them."""
        self.do(self._retry())

    @precondition(lambda self: self.blocks)
    @rule()
    def heal(self) -> None:
        """What made Postgres refuse some turns is gone."""
        self.blocks = False
        self.db.execute("DELETE FROM sessions WHERE id = %s", [BLOCKER])

    @precondition(lambda self: len(self.known) < 3)
    @rule(number=st.integers(0, 2))
    def meet(self, number: int) -> None:
        """A person who was unknown is a user from now on."""
        if number not in self.known:
            self.known.add(number)
            self.met_late |= self._ended_by(number)
            make_known(self.db, number)

    # what is true at any time

    @invariant()
    def rows_are_of_what_was_written(self) -> None:
        said = {
            (written.session_id, turn.seq, turn.text)
            for written, _ in self.sessions
            for turn in written.turns()
        }
        rows = self.db.execute(
            "SELECT session_id, seq, text FROM turns WHERE session_id <> %s", [BLOCKER]
        ).fetchall()
        stored = [(row["session_id"], row["seq"], row["text"]) for row in rows]
        assert len(stored) == len(set(stored))
        assert set(stored) <= said

    @invariant()
    def a_true_end_stands_and_comes_before_its_journal_goes(self) -> None:
        rows = self.db.execute(
            "SELECT id, status, end_reason, ended_at, duration_seconds, turn_count FROM sessions"
            " WHERE status <> 'active' AND reclaimed_at IS NULL"
        ).fetchall()
        ends = {row["id"]: row for row in rows}
        for session_id, row in self.true_ends.items():
            if session_id not in self.erased:
                assert ends[session_id] == row
        self.true_ends = ends
        for written, _ in self.sessions:
            if written.shipped and written.session_id not in self.erased:
                assert written.session_id in ends

    def teardown(self) -> None:
        try:
            self._end_all()
            self._compare()
        finally:
            self.do(self._close())
            self.room.undo()
            self.loop.close()
            self.db.close()
            self.place.cleanup()

    # how it is done

    async def _ship(self, worker: Worker) -> None:
        shipper = worker.shipper or worker.start()
        assert await shipper.flushed(SECONDS) == 0

    async def _restart(self, worker: Worker) -> None:
        await worker.crash()
        shipper = worker.start()
        if not any(job.alive for job, _ in self.sessions if job.worker == worker.number):
            await shipper.recover_folder()

    async def _adopt(self, worker: Worker, by: UUID, *, ends: bool) -> None:
        if ends or len(worker.running) > 1:
            await worker.crash()
        worker.start(by)

    async def _ship_until_broken(
        self, worker: Worker, message: int, how: Break, *, crash: bool, anew: bool
    ) -> None:
        if anew:
            await worker.crash()
        shipper = worker.shipper or worker.start()
        worker.wire.break_at(message, how)
        flushing = asyncio.create_task(shipper.flushed(SECONDS))
        broken = asyncio.create_task(worker.wire.broken.wait())
        await asyncio.wait([flushing, broken], return_when=asyncio.FIRST_COMPLETED)
        if crash and broken.done():
            await worker.crash()
            flushing.cancel()
        else:
            assert await flushing == 0
        broken.cancel()
        worker.wire.mend()
        await asyncio.gather(flushing, broken, return_exceptions=True)

    async def _partition(self, worker: Worker, *, down: bool) -> None:
        worker.wire.down = down
        if down:
            await worker.wire.hang_up()

    async def _reclaim(self, gone: set[int]) -> None:
        for worker in self.workers:
            if worker.number not in gone:
                await self._renew(worker)
        lapsed = [self.workers[number].worker_id for number in gone]
        await self.other.execute(
            "UPDATE worker_leases SET expires_at = now() WHERE worker_id = ANY(%s)", [lapsed]
        )
        await liveness.reclaim(self.other, deferred)

    async def _renew(self, worker: Worker) -> None:
        reassert = worker.shipper.reassert if worker.shipper else lambda: None
        lease = liveness.Lease(
            self.url, worker.worker_id, seconds=60, renewal_seconds=10, lapsed=reassert
        )
        await lease.renew()
        await lease._disconnect()

    async def _come_back(self, worker: Worker) -> None:
        await self._ship(worker)
        await self._renew(worker)
        alive = [
            job.session_id
            for job, _ in self.sessions
            if job.worker == worker.number and job.alive and job.events
        ]
        waiting = [session_id for session_id in alive if session_id not in self.erased]
        async with asyncio.timeout(SECONDS):
            while any(self._status(session_id) != "active" for session_id in waiting):  # noqa: ASYNC110  # Postgres's doing
                await asyncio.sleep(0.01)

    async def _retry(self) -> None:
        await deadletters.retry(self.other, deferred)

    def _status(self, session_id: UUID) -> str | None:
        found = self.db.execute("SELECT status FROM sessions WHERE id = %s", [session_id])
        row = found.fetchone()
        return row["status"] if row else None

    def _block(self, said: Turn) -> None:
        self.blocks = True
        self.db.execute(
            "INSERT INTO sessions (id, started_at) VALUES (%s, now()) ON CONFLICT DO NOTHING",
            [BLOCKER],
        )
        self.db.execute(
            "INSERT INTO turns (id, session_id, seq, item_id, role, text, started_at, ended_at,"
            " recorded_at) VALUES (%s, %s, 1, gen_random_uuid(), 'ai', '-', now(), now(), now())",
            [said.turn_id, BLOCKER],
        )

    def _ended_by(self, number: int) -> set[UUID]:
        """Return the sessions of a client that have ended for good."""
        return {
            job.session_id
            for job, _ in self.sessions
            if job.number == number and job.session_id in self.true_ends
        }

    def _end_all(self) -> None:
        """Heal everything, end every job, ship all of it, retry what was refused."""
        self.db.execute("DELETE FROM sessions WHERE id = %s", [BLOCKER])
        for written, script in self.sessions:
            if written.alive and written.number % 2:
                written.die(b"torn")
            elif written.alive:
                written.write(script.end(EndReason.CLIENT_LEFT))
                written.leave()
        for worker in self.workers:
            self.do(self._settle(worker))
        self.do(self._retry())

    async def _settle(self, worker: Worker) -> None:
        worker.wire.mend()
        await self._restart(worker)
        await self._ship(worker)
        assert list(worker.folder.glob("*.journal")) == []
        await worker.crash()

    def _compare(self) -> None:
        self.a_true_end_stands_and_comes_before_its_journal_goes()
        self._ship_straight()
        held, straight = everything(self.url), everything(self.straight_url)
        for written, _ in self.sessions:
            self._compare_with_what_was_said(written, held)
            self._compare_with_deferred(written)
        for row, other in zip(held["sessions"], straight["sessions"], strict=True):
            self._forgive(row, other)
        for letters in (held["dead_letters"], straight["dead_letters"]):
            for letter in letters:
                for name in OF_THE_WAY:
                    del letter[name]
            letters.sort(key=str)
        unnamed = {str(session_id) for session_id in self.met_late}
        for row in [*held["turns"], *straight["turns"]]:
            if str(row["session_id"]) in unnamed:
                del row["user_id"]
        assert held == straight

    def _ship_straight(self) -> None:
        folder = Path(self.place.name) / "straight"
        folder.mkdir()
        with psycopg.connect(self.straight_url, autocommit=True) as db:
            db.execute(EMPTY)
            for number in self.known:
                make_known(db, number)
        for written, _ in self.sessions:
            (folder / written.path.name).write_bytes(self._whole(written))
        self.do(self._forbid_and_ship(folder))

    async def _forbid_and_ship(self, folder: Path) -> None:
        async with await database.connect(self.straight_url, "test") as db:
            for session_id, identity in self.erased.items():
                await forbid(db, session_id, identity)
            if self.coach_erased:
                await forbid(db, identity=COACH)
        await ship(self.straight_url, folder)

    def _whole(self, written: Written) -> bytes:
        """Return the journal of a session as it has to be in the end."""
        reason = EndReason.ERROR
        if not written.end and written.session_id in self.true_ends:
            reason = EndReason(self.true_ends[written.session_id]["end_reason"])
            assert reason in DEATHS
        return bytes(written.raw) + b"".join(map(encode, written.recovered(reason)))

    def _forgive(self, row: dict[str, Any], other: dict[str, Any]) -> None:
        """Take from two rows of one session what may differ, once it is known to be sane."""
        assert row["id"] == other["id"]
        names = {"worker_id"}
        written = next(w for w, _ in self.sessions if w.session_id == row["id"])
        if self.coach_erased:
            names.add("last_turn_at")
        if row["id"] in self.met_late:
            names.add("user_id")
        if written.blocked:  # what was put through later is whole, and says that it once was not
            assert row["completeness"] in (other["completeness"], "recovered")
            names.add("completeness")
        for name in names:
            row.pop(name), other.pop(name)

    def _compare_with_what_was_said(self, written: Written, held: Held) -> None:
        """Look at the rows of one session without any other run to go by."""
        turns, letters = (
            [row for row in held[table] if row["session_id"] == written.session_id]
            for table in ("turns", "dead_letters")
        )
        sessions = [row for row in held["sessions"] if row["id"] == written.session_id]
        if written.session_id in self.erased:
            assert turns == letters == sessions == []
            return
        refused = {turn.item_id for turn in written.poisoned}
        said = {
            (turn.seq, turn.item_id, turn.role, turn.text)
            for turn in written.turns()
            if turn.item_id not in refused
            and not (self.coach_erased and turn.speaker_identity == COACH)
        }
        assert {(r["seq"], r["item_id"], r["role"], r["text"]) for r in turns} == said
        assert (len(turns), len(letters)) == (len(said), len(refused))
        compare_end(written, *sessions)

    def _compare_with_deferred(self, written: Written) -> None:
        """Jobs are deferred once for a transcript, and again for one that was made whole later."""
        if written.session_id in self.erased or self.coach_erased:
            return
        if written.blocked and written.poisoned:  # put through in part: it is never whole
            return
        rows = self.db.execute(
            "SELECT transcript FROM deferred WHERE session_id = %s AND NOT delayed ORDER BY number",
            [written.session_id],
        ).fetchall()
        found = self.db.execute(STORED_TRANSCRIPT, [written.session_id]).fetchone()
        assert rows[-1] == found
        assert written.blocked or len(rows) == 1

    async def _close(self) -> None:
        for worker in self.workers:
            await worker.crash()
            await worker.wire.__aexit__(None, None, None)
        await self.other.close()
        for written, _ in self.sessions:
            if written.alive:
                written.leave()


def compare_end(written: Written, session: dict[str, Any]) -> None:
    """Hold a session's row against its journal's end, or against what a recovery has to give."""
    end = written.end or written.recovered(EndReason(session["end_reason"]))[-1]
    assert isinstance(end, Ended)
    assert written.end or session["end_reason"] in DEATHS
    assert session["status"] == ("cancelled" if end.reason in CANCELLING else "completed")
    given = {
        "end_reason": end.reason,
        "ended_at": end.at,
        "turn_count": end.receipt.turn_count,
        "transcript_sha256": end.receipt.transcript_sha256,
        "reclaimed_at": None,
    }
    assert {name: session[name] for name in given} == given
    if not written.blocked:
        whole = written.end and not written.poisoned and not written.damage
        assert (session["completeness"] == "complete") == bool(whole)


async def forbid(db: Db, session_id: UUID | None = None, identity: str | None = None) -> None:
    """Let nothing in any more of a person, or else of a session."""
    if identity is not None:
        await tombstones.add_identity(db, identity)
    elif session_id is not None:
        await tombstones.add_session(db, session_id)


def make_known(db: psycopg.Connection[Any], number: int) -> None:
    db.execute(
        "INSERT INTO users (id, identity) VALUES (%s, %s)", [UUID(int=number), f"client-{number}"]
    )


@pytest.fixture
def straight_url(postgres_url: str, template_database: str) -> Iterator[str]:
    """The database of the straight runs."""
    yield from fresh_database(postgres_url, template_database)


def converge(url: str, straight_url: str, examples: int, steps: int) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(TABLES)
    with psycopg.connect(straight_url, autocommit=True) as db:
        db.execute(TABLES)
    machine = type("Shipping", (Shipping,), {"url": url, "straight_url": straight_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_interleaving_comes_to_the_rows_of_a_straight_run(
    database_url: str, straight_url: str
) -> None:
    converge(database_url, straight_url, examples=35, steps=20)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_many_interleavings_come_to_the_rows_of_a_straight_run(
    database_url: str, straight_url: str
) -> None:
    converge(database_url, straight_url, examples=2000, steps=40)
