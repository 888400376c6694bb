"""What the journal asks of a file system: private folders, durable names, locks that die with us.

A lock is a `flock`: it belongs to the open file, so the kernel frees it however its process ends,
and two opens in one process exclude each other too. A forked child would share the open file and
keep the lock alive, so children let go of every lock at birth (`exec` does it by O_CLOEXEC).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import weakref
from pathlib import Path
from uuid import UUID

FOLDER_MODE = 0o700
FILE_MODE = 0o600


class FileLock:
    """An open, exclusively locked file; `fd` is -1 once it is closed."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        _locks.add(self)

    def close(self) -> None:
        """Free the lock; a second time does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


_locks: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _let_go() -> None:
    for lock in list(_locks):
        with contextlib.suppress(OSError):
            lock.close()


os.register_at_fork(after_in_child=_let_go)


def create_locked(path: Path) -> FileLock:
    """Create `path`, which must not exist, for this user alone and lock it; raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    lock = FileLock(fd)
    try:
        os.fchmod(fd, FILE_MODE)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


def try_lock(path: Path, flags: int = os.O_RDONLY) -> FileLock | None:
    """Open and lock `path`; None while another holds it, or when it was replaced meanwhile.

    Raises OSError when it cannot be opened, FileNotFoundError when there is none.
    """
    fd = os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
    lock = FileLock(fd)
    try:
        if flags & os.O_CREAT:
            os.fchmod(fd, FILE_MODE)
        if _flock(fd, fcntl.LOCK_EX) and _is_named(path, fd):
            return lock
    except OSError:
        lock.close()
        raise
    lock.close()
    return None


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of `path`; False for a file that is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _flock(fd: int, operation: int) -> bool:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _is_named(path: Path, fd: int) -> bool:
    """Return whether `path` still names the open file: a lock on a file without a name is void."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset` (bytes); raises OSError, with a part of it written."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view, offset = view[written:], offset + written


def make_folder(path: Path) -> None:
    """Create `path`, for this user alone whatever the umask, where there is none; durably."""
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(FOLDER_MODE)
        path.chmod(FOLDER_MODE)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_uuid(name: str) -> bool:
    """Return whether `name` is how a UUID is written: workers' folders are told apart by it."""
    try:
        UUID(name)
    except ValueError:
        return False
    return True
