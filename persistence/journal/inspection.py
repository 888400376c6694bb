"""What an operator's check asks of the journal directory, from outside of any worker; reads files.

A worker's folder whose lock is free was left behind: its worker is gone. What is in there is not
lost: the next worker on this machine ships it.
"""

from __future__ import annotations

import contextlib
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from persistence.disk import FILE_MODE, FOLDER_MODE, is_locked, is_uuid
from persistence.folders import LOCK_NAME
from persistence.journal.file import UNFINISHED_MODE
from persistence.journal.lines import read


@dataclass(frozen=True)
class Inspection:
    """Of a journal directory that is there."""

    can_write: bool
    open_to_others: int
    """Folders and files with wider modes than 0700 and 0600."""
    free_bytes: int
    stored_bytes: int
    held: int
    """Folders of workers that run."""
    left_behind: int
    """Folders with journals whose worker is gone."""
    left_events: int
    """Events in these; some may be in Postgres already."""
    damaged_bytes: int
    """In these, what is no event."""
    degraded: int
    """Journals whose job holds, or held, events that the disk did not take."""
    unreadable: int
    """Folders and files of somebody else."""


def inspect(journal_dir: Path, explicit: Path | None = None) -> Inspection | None:
    """Look at `journal_dir`, and at the folder of a worker that has an explicit one.

    None where there is none. Raises OSError if it cannot be looked at.
    """
    place = explicit or journal_dir
    if not place.is_dir():
        return None
    folders = [explicit] if explicit else [p for p in journal_dir.iterdir() if is_uuid(p.name)]
    found = _Found()
    found.check_mode(place, FOLDER_MODE)
    for folder in sorted(folders):
        try:
            found.look_into(folder)
        except PermissionError:
            found.unreadable += 1
    return Inspection(
        can_write=_can_write(place), free_bytes=shutil.disk_usage(place).free, **vars(found)
    )


class _Found:
    def __init__(self) -> None:
        self.open_to_others = self.held = self.left_behind = self.left_events = 0
        self.damaged_bytes = self.degraded = self.unreadable = self.stored_bytes = 0

    def look_into(self, folder: Path) -> None:
        self.check_mode(folder, FOLDER_MODE)
        held = is_locked(folder / LOCK_NAME)
        journals = sorted(folder.glob("*.journal"))
        self.held += held
        self.left_behind += bool(journals) and not held
        for journal in journals:
            with contextlib.suppress(FileNotFoundError):
                mode = self.check_mode(journal, FILE_MODE)
                self.stored_bytes += journal.stat().st_size
                self.degraded += mode == UNFINISHED_MODE
                if not held:
                    reading = read(journal)
                    self.left_events += len(reading.records)
                    self.damaged_bytes += reading.torn

    def check_mode(self, path: Path, widest: int) -> int:
        """Count `path` if others may what they need not; return its mode."""
        mode = stat.S_IMODE(path.stat().st_mode)
        self.open_to_others += bool(mode & ~widest)
        return mode


def _can_write(folder: Path) -> bool:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".check-") as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError:
        return False
    return True
