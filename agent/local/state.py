"""The state folder of one checkout: who runs here, its secrets, its children and their logs.

It is `var/` in the current folder, readable by its owner alone. One `coach up` has it at a time;
the lock is the operating system's, so that a killed one leaves none behind.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO, Any

FOLDER_NAME = "var"
LOCK_NAME = "up.lock"


class AlreadyRunningError(Exception):
    """Another `coach up` has this folder."""

    def __init__(self, pid: str) -> None:
        owner = f"process {pid}" if pid else "another process"
        super().__init__(f"coach up is already running here: {owner} has {FOLDER_NAME}/{LOCK_NAME}")


def prepare(checkout: Path) -> Path:
    """Return the state folder of `checkout`, made if need be, closed to others."""
    folder = checkout.resolve() / FOLDER_NAME
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    return folder


def own(folder: Path) -> IO[Any]:
    """Take `folder` for this process until the file returned is closed.

    Raises AlreadyRunningError, which names the process that has it.
    """
    lock = open_private(folder / LOCK_NAME, "a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        pid = lock.read().strip()
        lock.close()
        raise AlreadyRunningError(pid) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def owned(folder: Path) -> bool:
    """Return whether a process has `folder` now."""
    try:
        with (folder / LOCK_NAME).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def write_private(path: Path, content: str) -> None:
    """Replace the file at `path` in one step; only its owner can read it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    Path(name).replace(path)


def open_private(path: Path, mode: str) -> IO[Any]:
    """Open the file at `path`; where this makes it, only its owner can read it."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))
