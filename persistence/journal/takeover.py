"""The journal of a dead job: taken over by its worker, and finished.

A takeover replaces the file in one step: the whole lines, the end behind them, the old mtime. A
crash in the middle leaves the dead job's file as it was, with its torn tail and its last sign of
life, so that the next recovery comes to the same rows. Nothing but the lock tells that a job is
dead, and the file needs no right to be written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import structlog

from persistence.disk import FileLock, create_locked, sync_folder, try_lock, write_all
from persistence.events import Ended, EndReason, Event
from persistence.journal.file import UNFINISHED_MODE
from persistence.journal.lines import encode, read, session_id_of, sign_of_life
from persistence.recovery import recovered_end

UNWRITTEN = "events of the job were not on disk when it died"

log = structlog.get_logger("coach.journal")


class DeadJournal:
    """A journal whose lock we hold, as it was when we took it."""

    def __init__(self, path: Path, lock: FileLock) -> None:
        status = os.fstat(lock.fd)
        self.path = path
        self.reading = read(path)
        """As the job left it."""
        self.events: list[Event] = [record.event for record in self.reading.records]
        self.last_sign: datetime = sign_of_life(
            self.events[-1] if self.events else None, status.st_mtime
        )
        self.unwritten = status.st_mode & 0o777 == UNFINISHED_MODE
        """Whether its job held events that the disk had not taken."""
        self._whole = self.reading.offset
        self._lock = lock

    @property
    def ended(self) -> bool:
        return any(isinstance(event, Ended) for event in self.events)

    def append(self, events: Sequence[Event]) -> None:
        """Add `events` durably, all or none; a torn tail goes, the mtime stays.

        Raises RuntimeError after the end, OSError when the disk refuses.
        """
        if self.ended:
            raise RuntimeError("the journal has ended")
        whole = self.path.read_bytes()[: self._whole] + b"".join(map(encode, events))
        fresh = self.path.with_suffix(".recovering")
        fresh.unlink(missing_ok=True)
        try:
            lock = self._written(fresh, whole)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise
        self._lock.close()
        self._lock = lock
        sync_folder(self.path.parent)
        self._whole = len(whole)
        self.events += events

    def _written(self, fresh: Path, whole: bytes) -> FileLock:
        lock = create_locked(fresh)
        try:
            write_all(lock.fd, whole, 0)
            os.utime(lock.fd, (self.last_sign.timestamp(), self.last_sign.timestamp()))
            os.fsync(lock.fd)
            fresh.rename(self.path)
        except OSError:
            lock.close()
            raise
        return lock

    def close(self) -> None:
        self._lock.close()


@contextmanager
def try_lock_journal(path: Path) -> Iterator[DeadJournal | None]:
    """Take the journal of a dead job over; None while its job lives, or when it is gone.

    Raises OSError when it cannot be read.
    """
    try:
        lock = try_lock(path)
    except FileNotFoundError:
        lock = None
    if lock is None:
        yield None
        return
    try:
        journal = DeadJournal(path, lock)
    except OSError:
        lock.close()
        raise
    with contextlib.closing(journal):
        yield journal


def recover(path: Path, reason: EndReason) -> bool:
    """End the session of a dead job, durably; return whether this call did.

    False if the job lives, the session has ended, or the file is gone. Raises OSError when the
    disk refuses; the journal is then as it was, to be tried again.
    """
    with try_lock_journal(path) as journal:
        if journal is None or journal.ended:
            return False
        end = recovered_end(
            journal.events,
            last_sign=journal.last_sign,
            reason=reason,
            torn=journal.reading.torn,
            trouble=UNWRITTEN if journal.unwritten else None,
        )
        journal.append(end)
        log.warning(
            "session_recovered",
            session_id=str(session_id_of(path)),
            reason=reason,
            turns_promoted=len(end) - 1,
            torn_bytes=journal.reading.torn,
        )
        return True
