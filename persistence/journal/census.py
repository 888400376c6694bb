"""What a worker's journals amount to at one moment, for whoever watches over it; reads files."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path
from typing import NamedTuple

from persistence.disk import is_locked
from persistence.journal.file import UNFINISHED_MODE, stored_bytes


class Census(NamedTuple):
    running: int
    """Sessions whose job lives."""
    degraded: int
    """Of these, sessions with events in memory that the disk does not take."""
    stored_bytes: int
    """Of all journals in the journal directory."""
    free_bytes: int
    """Of the journal's file system, for this user."""


def census(folder: Path) -> Census:
    """Count what is in a worker's `folder`; any thread may. Raises OSError if it is not there."""
    running = degraded = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".journal"):
                with contextlib.suppress(FileNotFoundError, PermissionError):
                    lives = is_locked(Path(entry.path))
                    running += lives
                    mode = stat.S_IMODE(entry.stat().st_mode)
                    degraded += lives and mode == UNFINISHED_MODE
    return Census(running, degraded, stored_bytes(folder), shutil.disk_usage(folder).free)
