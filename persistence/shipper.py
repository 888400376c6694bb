"""From the journals into Postgres: one shipper a worker, one connection, nothing lost, none twice.

It is woken after each commit to a journal and looks besides every half second. Idle, it writes at
once; under load what came meanwhile goes in one batch. What Postgres refuses as data is put aside
(`passages`), anything else is tried again: the whole connection where the database as a whole
fails, else the one session, so that none holds up the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from uuid import UUID

import psycopg
import structlog

from persistence import tombstones
from persistence.batches import Batches
from persistence.database import connect, refused_as_data, unavailable
from persistence.dead_jobs import DeadJobs
from persistence.deferring import AfterSession, Db
from persistence.journal import Wakeups
from persistence.journal.behind import Behind, behind
from persistence.passages import Outcome, write, write_singly
from persistence.shipper_status import Lags, ShipperStatus
from persistence.streams import Stream, Streams, Taken

log = structlog.get_logger("coach.shipper")

_now = time.monotonic

POLL_SECONDS = 0.5
ANSWER_SECONDS = 15.0
"""Without an answer for so long a connection is taken for dead, and another one is made."""
_DEAD_JOBS_SECONDS = 2.0
_PING_SECONDS = 5.0
_FLUSH_PAUSE = 0.02
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
"""Seconds between tries, doubled each time, with jitter: workers do not come back all at once."""


class Shipper:
    """Ships what is in `folders`: the worker's own first, then those it took over."""

    def __init__(
        self,
        folders: Sequence[Path],
        dsn: str,
        worker_id: UUID,
        after_session: AfterSession,
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._dsn = dsn
        self._after_session = after_session
        self._poll_seconds = poll_seconds
        self._streams = Streams(folders, worker_id)
        self._batches = Batches(self._streams)
        self._dead_jobs = DeadJobs(self._streams)
        self._totals, self._lags = Outcome(), Lags()
        self._connected = False
        self._last_error: str | None = None
        self._failures = 0
        self._stopping = False
        self._kick = asyncio.Event()
        self._quiet = asyncio.Event()

    async def run(self) -> None:
        """Ship until `stop` or cancelled."""
        wakeups = Wakeups(self._streams.folders[0])
        try:
            while not self._stopping:
                try:
                    async with await connect(
                        self._dsn, "shipper", answer_seconds=ANSWER_SECONDS
                    ) as db:
                        await self._serve(db, wakeups)
                except (psycopg.Error, OSError, LookupError) as error:
                    await self._fall_back(error)
                finally:
                    self._connected = False
        finally:
            await self._dead_jobs.settled()
            wakeups.close()

    def stop(self) -> None:
        """Let `run` return after what it is at; `flushed` first, where all is to be shipped."""
        self._stopping = True
        self._kick.set()

    async def flushed(self, timeout: float) -> int:  # noqa: ASYNC109 no error: an answer
        """Wait until all is shipped, `timeout` seconds at most; return how many events are not.

        A session whose job is dead has an end to be shipped, also if the job died just now.
        """
        deadline = _now() + timeout
        self._dead_jobs.hurry()
        while left := await self._unshipped() or await self._left_by_the_dead():
            if (rest := deadline - _now()) <= 0:
                break
            self._streams.hurry()
            self._quiet.clear()
            self._kick.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), min(rest, self._poll_seconds))
            await asyncio.sleep(_FLUSH_PAUSE)
        return left

    def open_sessions(self) -> int:
        """Return how many sessions on disk have no end in Postgres."""
        return sum(not stream.ended for stream in self._streams)

    async def recover_folder(self) -> int:
        """End the sessions that an earlier worker left here; return how many that were.

        Waits for those jobs of it that still run. Needs no database: what it journals is shipped
        once there is one. What the disk refuses is tried again while the shipper runs.
        """
        return await self._dead_jobs.end_left_behind(self._poll_seconds)

    def reassert(self, session_ids: Iterable[UUID] | None = None) -> None:
        """Say once more that sessions live, all of this worker's if None: its lease had lapsed."""
        self._streams.reassert(set(session_ids) if session_ids is not None else None)
        self._kick.set()

    def status(self) -> ShipperStatus:
        """Return how it stands; reads files."""
        return self._status(behind(self._streams.folders, self._streams.positions()))

    async def observed(self) -> ShipperStatus:
        """Return the same as `status` without holding up the event loop."""
        return self._status(await self._behind())

    def _status(self, left: Behind) -> ShipperStatus:
        return ShipperStatus(
            self._connected,
            left.events,
            0.0 if left.oldest_at is None else max(0.0, time.time() - left.oldest_at),
            self._totals.refused,
            self._totals.dropped,
            self._streams.damaged_bytes,
            self._last_error,
            self._lags.copy(),
            self._dead_jobs.ended,
        )

    async def _serve(self, db: Db, wakeups: Wakeups) -> None:
        """Ship over one connection until it fails."""
        key = await tombstones.key(db)
        self._connected = True
        log.info("shipper_connected")
        look_at = ping_at = dead_jobs_at = 0.0
        while not self._stopping:
            now = _now()
            self._streams.grew(await wakeups.wait(0))
            if look_at <= now:
                self._streams.scan()
                look_at = now + self._poll_seconds
            if dead_jobs_at <= now:
                self._dead_jobs.look()
                dead_jobs_at = now + _DEAD_JOBS_SECONDS
            if await self._ship_next(db, key):
                ping_at = now + _PING_SECONDS
                continue
            if ping_at <= now:
                await db.execute("SELECT 1")
                ping_at = now + _PING_SECONDS
            if await self._wait(wakeups):
                look_at = 0.0

    async def _wait(self, wakeups: Wakeups) -> bool:
        """Wait for something to do, up to the next look; return whether somebody asked for one."""
        self._quiet.set()
        woken = asyncio.ensure_future(wakeups.wait(self._poll_seconds))
        kicked = asyncio.ensure_future(self._kick.wait())
        try:
            await asyncio.wait({woken, kicked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            kicked.cancel()
            if not woken.done():
                woken.cancel()
            await asyncio.gather(woken, kicked, return_exceptions=True)
        if not woken.cancelled():
            self._streams.grew(woken.result())
        asked = self._kick.is_set()
        self._kick.clear()
        return asked

    async def _ship_next(self, db: Db, key: bytes) -> bool:
        """Write a batch, if there is one; return whether there was."""
        batch = await self._batches.next()
        if not batch:
            return False
        try:
            async with self._batches.reading_ahead() as meanwhile:
                await self._ship(db, batch, key, meanwhile)
        except BaseException:
            self._batches.give_back()
            self._streams.give_back(batch)
            self._batches.smaller()
            raise
        self._batches.larger()
        return True

    async def _ship(
        self, db: Db, batch: Sequence[Taken], key: bytes, meanwhile: Callable[[], None]
    ) -> None:
        """Write a batch; of one that does not go as a whole, each session goes by itself.

        Where data is refused the halves are tried first: most of it goes at once all the same.
        """
        try:
            passages = [taken.passage for taken in batch]
            self._done(batch, await write(db, passages, key, self._after_session, meanwhile))
        except Exception as error:
            # an error of the driver without a SQLSTATE may only follow from one that had it
            lost = unavailable(error) and getattr(error, "sqlstate", None) is not None
            if lost or db.closed:
                raise
            if len(batch) > 1 and refused_as_data(error):
                middle = len(batch) // 2
                await self._ship(db, batch[:middle], key, meanwhile)
                await self._ship(db, batch[middle:], key, meanwhile)
            else:
                await self._ship_apart(db, batch, key)

    async def _ship_apart(self, db: Db, batch: Sequence[Taken], key: bytes) -> None:
        for taken in batch:
            try:
                outcome = await write_singly(db, taken.passage, key, self._after_session)
                self._done([taken], outcome)
            except Exception as error:
                if unavailable(error) or db.closed:
                    raise
                self._hold(taken.stream, error)

    def _done(self, batch: Sequence[Taken], outcome: Outcome) -> None:
        now = time.time()
        for taken in batch:
            self._lags.note((record.at.timestamp() for record in taken.passage.records), now)
            if outcome.start_refused:
                taken.stream.started = None
            self._streams.done(taken)
        self._totals.refused += outcome.refused
        self._totals.dropped += outcome.dropped
        self._failures, self._last_error = 0, None

    def _hold(self, stream: Stream, error: Exception) -> None:
        """Try one session later, and go on with the others."""
        pause = _pause(stream.failures)
        self._last_error = _described(error)
        self._streams.failed(stream, _now(), pause)
        log.warning("session_held_up", session_id=str(stream.session_id), error=self._last_error)

    async def _fall_back(self, error: Exception) -> None:
        """Wait a while before the next connection; nothing is lost meanwhile, it is on disk."""
        pause = _pause(self._failures)
        self._failures += 1
        self._last_error = _described(error)
        log.warning("shipper_retries", error=self._last_error, pause_seconds=round(pause, 2))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._kick.wait()
        self._kick.clear()

    async def _left_by_the_dead(self) -> int:
        """End what dead jobs left unended; return how many events are to be shipped for it."""
        self._streams.scan()
        await self._dead_jobs.end()
        return await self._unshipped()

    async def _unshipped(self) -> int:
        """Return how many events are not committed, by what is on disk now."""
        return (await self._behind()).events

    async def _behind(self) -> Behind:
        folders, positions = self._streams.folders, self._streams.positions()
        return await asyncio.to_thread(behind, folders, positions)


def _pause(failures: int) -> float:
    longest: float = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 nobody gains from guessing it


def _described(error: BaseException) -> str:
    """Return class and SQLSTATE: what else a driver says may quote the data."""
    sqlstate = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} {sqlstate}" if sqlstate else type(error).__name__
