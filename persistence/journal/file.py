"""One journal file, open for appending by the job that holds its lock."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from persistence.disk import (
    FILE_MODE,
    FileLock,
    create_locked,
    is_uuid,
    make_folder,
    sync_folder,
    write_all,
)

UNFINISHED_MODE = 0o400
"""Mode of a journal whose job holds events that the disk did not take. It needs no space to set,
so that a recovery after a full disk and a kill knows that something is missing."""

_MEASURED_FOR = 30.0
"""Seconds for which a measurement of the journal directory holds: one costs a stat a file."""


class Trouble(StrEnum):
    """Why events wait in memory."""

    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"
    SIZE_LIMIT = "size_limit"
    IO_ERROR = "io_error"


_TROUBLES = {
    errno.ENOSPC: Trouble.DISK_FULL,
    errno.EDQUOT: Trouble.DISK_FULL,
    errno.EROFS: Trouble.READ_ONLY,
}


def trouble_of(error: OSError) -> Trouble:
    return _TROUBLES.get(error.errno or 0, Trouble.IO_ERROR)


class Appended(NamedTuple):
    size: int
    """Bytes that are durable now: whole lines only."""
    error: OSError | None
    """Why the rest is not."""


class JournalFile:
    """Lines up to `size` (bytes) are durable; whatever stands after it is cut before the next.

    Not thread-safe: the writer thread alone uses it.
    """

    def __init__(self, lock: FileLock, folder: Path) -> None:
        self._lock = lock
        self._folder = folder
        self._named = False
        self._dirty = False
        self.size = 0

    @classmethod
    def create(cls, folder: Path, session_id: UUID) -> JournalFile:
        """Create the journal: under its final name only once it is locked. Raises OSError.

        Whoever sees the name therefore sees a held lock, until the job is dead.
        """
        make_folder(folder)
        path, fresh = folder / f"{session_id}.journal", folder / f"{session_id}.new"
        if path.exists():
            raise FileExistsError(errno.EEXIST, "this session has a journal already")
        fresh.unlink(missing_ok=True)
        lock = create_locked(fresh)
        try:
            fresh.rename(path)
        except OSError:
            lock.close()
            raise
        return cls(lock, folder)

    def append(self, lines: bytes, at: float) -> Appended:
        """Write `lines` and sync them; what fails is cut back to the last whole durable line.

        `at` is as in `touch`: a write's own mtime is of the wall clock, which may have jumped, and
        what is synced, and found by whoever comes after a crash, is what it was before the sync.
        """
        try:
            self._repair()
        except OSError as error:
            return Appended(0, error)
        self._dirty = True
        try:
            write_all(self._lock.fd, lines, self.size)
        except OSError as error:
            return Appended(self._keep_whole(lines, at), error)
        self.touch(at)
        try:
            os.fdatasync(self._lock.fd)
        except OSError as error:
            # The kernel may call pages clean that it never wrote: all come again from memory.
            with contextlib.suppress(OSError):
                self._repair()
            return Appended(0, error)
        self.size, self._dirty = self.size + len(lines), False
        return Appended(len(lines), None)

    def _repair(self) -> None:
        """Make the file's name durable, and cut what an earlier failure left behind `size`."""
        if not self._named:
            sync_folder(self._folder)
            self._named = True
        if self._dirty:
            os.ftruncate(self._lock.fd, self.size)
            self._dirty = False

    def _keep_whole(self, lines: bytes, at: float) -> int:
        """Keep the whole lines of a write that fell short, cut the rest; return the bytes kept."""
        fd = self._lock.fd
        try:
            kept = lines.rfind(b"\n", 0, os.fstat(fd).st_size - self.size) + 1
            os.ftruncate(fd, self.size + kept)
            self.touch(at)
            os.fdatasync(fd)
        except OSError:
            return 0
        self.size, self._dirty = self.size + kept, False
        return kept

    def touch(self, at: float) -> None:
        """Say that the job lives: its mtime is `at`, seconds since the epoch by the job's clock."""
        with contextlib.suppress(OSError):
            os.utime(self._lock.fd, (at, at))

    def mark(self, *, finished: bool) -> None:
        """Show in the file's mode whether the disk has everything; best effort."""
        with contextlib.suppress(OSError):
            os.fchmod(self._lock.fd, FILE_MODE if finished else UNFINISHED_MODE)

    def close(self) -> None:
        self._lock.close()


class Allowance:
    """How much the journal directory of `folder` may still grow, up to `max_bytes` in total."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._used = 0
        self._measured: float | None = None

    def covers(self, size: int) -> bool:
        """Return whether `size` more bytes fit; whether others freed space is looked at first."""
        now = time.monotonic()
        stale = self._measured is None or now - self._measured > _MEASURED_FOR
        if stale or self._used + size > self._max_bytes:
            self._used, self._measured = stored_bytes(self._folder), now
        return self._used + size <= self._max_bytes

    def spend(self, size: int) -> None:
        self._used += size


def stored_bytes(folder: Path) -> int:
    """Return the bytes of all journals in `folder` and, if a UUID names it, in its like beside it.

    An explicit folder may stand anywhere: what lies beside it is none of our business then.
    """
    folders = [folder]
    if is_uuid(folder.name):
        with contextlib.suppress(OSError), os.scandir(folder.parent) as entries:
            folders = [Path(entry.path) for entry in entries if is_uuid(entry.name)]
    return sum(map(_journal_bytes, folders))


def _journal_bytes(folder: Path) -> int:
    size = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".journal"):
                with contextlib.suppress(FileNotFoundError):
                    size += entry.stat().st_size
    return size
