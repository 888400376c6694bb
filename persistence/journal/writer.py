"""The job's side of the journal: events in from any thread, one writer thread, group commit.

The event loop only ever enqueues. The thread drains the queue, writes once, syncs once, wakes the
shipper, and between commits touches the file's mtime. What the disk refuses stays in memory, in
order, and is tried again until it is written or the job gives up waiting (`close`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import structlog

from persistence.events import Ended, Event, Progress
from persistence.journal.backlog import MEMORY_BYTES, Backlog
from persistence.journal.file import Allowance, JournalFile, Trouble, trouble_of
from persistence.journal.lines import encode
from persistence.journal.wakeups import Knocks

TOUCH_SECONDS = 10.0
_FIRST_RETRY_SECONDS = 0.05
_LONGEST_RETRY_SECONDS = 1.0

log = structlog.get_logger("coach.journal")


@dataclass(frozen=True)
class JournalState:
    """How the journal fared so far."""

    trouble: Trouble | None = None
    """The first thing that kept events from the disk; it stays when that is over."""
    recovered: bool = False
    """Whether everything has reached the disk since."""
    progress_dropped: int = 0
    """`progress` events let go of, for want of memory while the disk refused."""


class _Waiter(NamedTuple):
    number: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[bool]

    def answer(self, durable: bool) -> None:
        with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._set, durable)

    def _set(self, durable: bool) -> None:
        if not self.future.done():
            self.future.set_result(durable)


class JournalWriter:
    """The journal of one session, while its job lives."""

    def __init__(
        self,
        folder: Path,
        session_id: UUID,
        *,
        max_bytes: int,
        touch_seconds: float = TOUCH_SECONDS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._folder = folder
        self._session_id = session_id
        self._touch_seconds = touch_seconds
        # shared with the thread, under the condition
        self._changed = threading.Condition()
        self._backlog = Backlog(memory_bytes)
        self._waiters: list[_Waiter] = []
        self._ended = self._closing = self._abandoned = self._finished = False
        self._retry_at = 0.0
        self._state = JournalState()
        # the thread's own
        self._file: JournalFile | None = None
        self._knocks = Knocks(folder, session_id)
        self._allowance = Allowance(folder, max_bytes)
        self._pause = _FIRST_RETRY_SECONDS
        self._touch_at = math.inf
        # a write's own mtime is of the wall clock, which may jump: signs of life must not
        self._epoch = time.time() - time.monotonic()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    @classmethod
    def create(
        cls,
        folder: Path,
        session_id: UUID,
        *,
        max_bytes: int,
        touch_seconds: float = TOUCH_SECONDS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> JournalWriter:
        """Start the journal of `session_id` in `folder`; does no I/O and raises for no disk.

        `max_bytes`: of all journals of the journal directory together; what is more waits in
        memory, except a session's end, which must get through for its file to be deleted ever.
        `touch_seconds`: how often the file's mtime says that the job lives.
        """
        writer = cls(
            folder,
            session_id,
            max_bytes=max_bytes,
            touch_seconds=touch_seconds,
            memory_bytes=memory_bytes,
        )
        writer._thread.start()
        return writer

    @property
    def state(self) -> JournalState:
        return replace(self._state, progress_dropped=self._backlog.dropped)

    @property
    def trouble(self) -> str | None:
        """Why events have ever had to wait in memory, for the receipt; None if they never had."""
        if self._state.trouble and self._backlog.dropped:
            return f"{self._state.trouble}; progress dropped"
        return self._state.trouble

    def append(self, *events: Event) -> None:
        """Take `events`, from any thread, without I/O. Raises RuntimeError after the end.

        They go to the disk in one write, as far as it takes them: no crash comes between them.
        """
        lines = [(encode(event), isinstance(event, Progress)) for event in events]
        with self._changed:
            if self._ended or self._closing:
                raise RuntimeError("the journal has ended")
            self._ended = any(isinstance(event, Ended) for event in events)
            for line, droppable in lines:
                self._backlog.put(line, droppable=droppable)
            self._changed.notify()

    async def durable(self, timeout: float) -> bool:  # noqa: ASYNC109  # no error: an answer
        """Return True once all that was appended is on disk, False after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        with self._changed:
            if not self._backlog:
                return True
            if self._finished:
                return False
            waiter = _Waiter(self._backlog.last, loop, loop.create_future())
            self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                return await waiter.future
        except TimeoutError:
            return False
        finally:
            with self._changed, contextlib.suppress(ValueError):
                self._waiters.remove(waiter)

    def close(self, timeout: float) -> bool:
        """Write out what waits and free the lock; blocks for `timeout` seconds at most.

        Returns False if events remain unwritten: they are given up.
        """
        with self._changed:
            self._closing = True
            self._retry_at = 0.0
            self._changed.notify()
        self._thread.join(timeout)
        with self._changed:
            self._abandoned = True
            self._changed.notify()
            left = len(self._backlog)
        if left:
            log.error("journal_given_up", session_id=str(self._session_id), events=left)
        return not left

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                self._work(batch)
            except OSError as error:
                self._degrade(trouble_of(error), error)
            except Exception as error:  # noqa: BLE001  # the thread must outlive any mistake
                log.error("journal_writer_failed", error=type(error).__name__)  # noqa: TRY400
                self._degrade(Trouble.IO_ERROR)
        self._finish()

    def _next(self) -> bytes | None:
        """Wait until something is due; return the lines to write, None when all is done."""
        with self._changed:
            while True:
                if self._abandoned or (self._closing and not self._backlog):
                    return None
                now = time.monotonic()
                wanted = bool(self._backlog) or self._file is None
                due = min(
                    self._touch_at, self._knocks.again_at, self._retry_at if wanted else math.inf
                )
                if due <= now:
                    return self._backlog.head() if self._retry_at <= now else b""
                self._changed.wait(None if due == math.inf else due - now)

    def _work(self, batch: bytes) -> None:
        now = time.monotonic()
        if self._knocks.again_at <= now:
            self._wake()
        if self._touch_at <= now:
            self._touch()
        if self._file is None and self._retry_at <= now:
            self._file = JournalFile.create(self._folder, self._session_id)
            self._touch()
        if batch and self._file is not None:
            self._commit(self._file, batch)

    def _commit(self, file: JournalFile, batch: bytes) -> None:
        # Our own limit must not keep a session from ending: only what has ended is ever deleted.
        last_words = self._ended or self._closing
        if not last_words and not self._allowance.covers(len(batch)):
            self._degrade(Trouble.SIZE_LIMIT)
            return
        now = time.monotonic()
        done = file.append(batch, self._epoch + now)
        self._allowance.spend(done.size)
        if done.size:
            self._touch_at = now + self._touch_seconds
            self._settle(done.size)
            self._wake()
        if done.error is not None:
            self._degrade(trouble_of(done.error), done.error)
        else:
            self._recover(file)

    def _settle(self, size: int) -> None:
        """Forget `size` bytes (whole lines) that are durable, and tell who waited for them."""
        with self._changed:
            number = self._backlog.remove(size)
            if not self._backlog:
                number = max([number, *(waiter.number for waiter in self._waiters)])
            told = [waiter for waiter in self._waiters if waiter.number <= number]
            self._waiters = [waiter for waiter in self._waiters if waiter.number > number]
        for waiter in told:
            waiter.answer(durable=True)

    def _degrade(self, trouble: Trouble, error: OSError | None = None) -> None:
        """Try again later, and say so once, loudly."""
        before = self._state
        with self._changed:
            self._retry_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, _LONGEST_RETRY_SECONDS)
        self._state = JournalState(before.trouble or trouble)
        if self._file is not None:
            self._file.mark(finished=False)
        if before.trouble is not None and not before.recovered:
            return
        code = errno.errorcode.get(error.errno or 0) if error else None
        log.error("journal_degraded", session_id=str(self._session_id), trouble=trouble, error=code)

    def _recover(self, file: JournalFile) -> None:
        self._pause = _FIRST_RETRY_SECONDS
        if self._state.trouble is None or self._state.recovered or self._backlog:
            return
        self._state = replace(self._state, recovered=True)
        file.mark(finished=True)
        dropped = self._backlog.dropped
        log.warning("journal_caught_up", session_id=str(self._session_id), progress_dropped=dropped)

    def _wake(self) -> None:
        self._knocks.knock(self._file.size if self._file else 0)

    def _touch(self) -> None:
        now = time.monotonic()
        if self._file is not None:
            self._file.touch(self._epoch + now)
        self._touch_at = now + self._touch_seconds

    def _finish(self) -> None:
        with self._changed:
            self._finished = True
            waiters, self._waiters = self._waiters, []
            done = not self._backlog
        for waiter in waiters:
            waiter.answer(durable=done)
        if self._file is not None:
            self._file.close()
        self._knocks.close()
