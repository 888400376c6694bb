"""Whose journal is whose: one folder a worker, `<journal dir>/<worker uuid>/`, locked for its life.

The folder's uuid is the worker's id. A worker that starts takes over a folder whose lock is free,
before all one with journals in it: that is what its predecessor left. Folders that nobody came
back for are shipped by others (`orphans`), under the id of the worker that they belonged to.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import structlog
import uuid_utils.compat

from persistence.disk import (
    FILE_MODE,
    FileLock,
    is_uuid,
    make_folder,
    sync_folder,
    try_lock,
)
from persistence.errors import JournalTakenError, JournalUnusableError
from persistence.journal import wake_address

LOCK_NAME = "worker.lock"
_ID = "worker.id"
_UNFINISHED = ("*.new", "*.recovering")

log = structlog.get_logger("coach.journal")


class WorkerFolder:
    """A worker's folder, held by this process until `close` or its own end."""

    def __init__(self, path: Path, worker_id: UUID, lock: FileLock) -> None:
        self.path = path
        self.worker_id = worker_id
        self._lock = lock
        for pattern in _UNFINISHED:
            for leftover in path.glob(pattern):
                with contextlib.suppress(OSError):
                    leftover.unlink()

    def journals(self) -> list[Path]:
        """Return the journals in it, oldest session first."""
        return _journals(self.path)

    def close(self) -> None:
        """Leave the folder to whoever comes."""
        self._lock.close()

    def remove(self) -> bool:
        """Let go of the folder, and delete it if no journal is in it; return whether it is gone.

        A job of the dead worker may start a journal at the same moment: then the folder stays,
        free, and is an orphan again.
        """
        try:
            if self.journals():
                return False
            for name in (wake_address(self.path), self.path / _ID, self.path / LOCK_NAME):
                name.unlink(missing_ok=True)
            self.path.rmdir()
        except OSError:
            return False
        finally:
            self.close()
        return True


def claim(journal_dir: Path, explicit: Path | None = None) -> WorkerFolder:
    """Return a folder of this worker's own: `explicit`, else a free one, else a new one.

    Raises JournalTakenError if `explicit` belongs to a running worker, JournalUnusableError if
    the place cannot be written.
    """
    given = explicit or journal_dir
    try:
        if explicit is not None:
            return _claim_explicit(explicit)
        make_folder(journal_dir)
        return _adopt(journal_dir) or _claim_new(journal_dir)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        raise JournalUnusableError(f"the journal folder {given} cannot be used: {why}") from error


def orphans(journal_dir: Path, own: WorkerFolder) -> Iterator[WorkerFolder]:
    """Claim every other folder that has journals and no worker; each is the caller's to close.

    One is claimed when its turn has come: to settle one may take long, or fail.
    """
    for path in _worker_folders(journal_dir):
        folder = None
        if path != own.path and _journals(path):
            with _skipped_if_foreign():
                folder = _try_claim(path, UUID(path.name))
        if folder is not None:
            yield folder


def _claim_explicit(path: Path) -> WorkerFolder:
    make_folder(path)
    lock = try_lock(path / LOCK_NAME, os.O_RDWR | os.O_CREAT)
    if lock is None:
        raise JournalTakenError(f"the journal folder {path} belongs to a running worker")
    try:
        return WorkerFolder(path, _explicit_id(path), lock)
    except OSError:
        lock.close()
        raise


def _explicit_id(path: Path) -> UUID:
    """Return the folder's uuid: its name if that is one, else what the file inside says."""
    with contextlib.suppress(ValueError):
        return UUID(path.name)
    kept = path / _ID
    with contextlib.suppress(FileNotFoundError, ValueError):
        return UUID(kept.read_text(encoding="ascii").strip())
    worker_id = uuid_utils.compat.uuid7()
    fresh = path / f"{_ID}.new"
    with fresh.open("w", encoding="ascii") as file:
        os.fchmod(file.fileno(), FILE_MODE)
        file.write(f"{worker_id}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(kept)
    sync_folder(path)
    return worker_id


def _adopt(journal_dir: Path) -> WorkerFolder | None:
    """Take the first free folder, those with journals first; None if there is none."""
    folders = sorted(_worker_folders(journal_dir), key=lambda path: not _journals(path))
    for path in folders:
        with _skipped_if_foreign():
            if (folder := _try_claim(path, UUID(path.name))) is not None:
                log.info("journal_folder_adopted", worker_id=str(folder.worker_id))
                return folder
    return None


def _claim_new(journal_dir: Path) -> WorkerFolder:
    while True:  # another worker may adopt it before it is locked: then it is theirs
        worker_id = uuid_utils.compat.uuid7()
        path = journal_dir / str(worker_id)
        make_folder(path)
        if (folder := _try_claim(path, worker_id)) is not None:
            return folder


def _try_claim(path: Path, worker_id: UUID) -> WorkerFolder | None:
    """Lock the folder; None if another has it or removed it. Raises OSError."""
    try:
        lock = try_lock(path / LOCK_NAME, os.O_RDWR | os.O_CREAT)
    except FileNotFoundError:
        return None
    return WorkerFolder(path, worker_id, lock) if lock is not None else None


@contextlib.contextmanager
def _skipped_if_foreign() -> Iterator[None]:
    """Pass over a folder of another user: it is not ours to take."""
    try:
        yield
    except PermissionError:
        log.warning("journal_folder_foreign", error=errno.errorcode[errno.EACCES])


def _worker_folders(journal_dir: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(path for path in journal_dir.iterdir() if is_uuid(path.name))
    return []


def _journals(folder: Path) -> list[Path]:
    with contextlib.suppress(PermissionError):
        return sorted(folder.glob("*.journal"))
    return []
