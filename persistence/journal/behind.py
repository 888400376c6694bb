"""What of some journals is not in Postgres, by what is on disk now; reads files, in any thread."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from persistence.journal.lines import read

_CHUNK_BYTES = 1024 * 1024


class Behind(NamedTuple):
    events: int
    oldest_at: float | None
    """When the oldest of them happened, in seconds since the epoch; None where none can be read."""


def behind(folders: Iterable[Path], positions: Mapping[Path, int | None]) -> Behind:
    """Look what stands in the journals behind `positions` (bytes; None: nothing is wanted).

    One that cannot be read counts as one event: whoever waits for all of them waits for it too, and
    for the others no less.
    """
    events, happened = 0, []
    for folder in folders:
        for path in (Path(place) for place, _ in journals_in(folder)):
            offset = positions.get(path, 0)
            if offset is not None and (lines := _lines_after(path, offset)):
                events += lines
                happened += _first_at(path, offset)
    return Behind(events, min(happened, default=None))


def journals_in(folder: Path) -> list[tuple[str, int]]:
    """Return where the journals in `folder` are, with their sizes in bytes."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".journal"):
                with contextlib.suppress(FileNotFoundError):  # this one is gone, the others are not
                    found.append((entry.path, entry.stat().st_size))
    return found


def _lines_after(path: Path, offset: int) -> int:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""))
    except FileNotFoundError:
        return 0
    except OSError:
        return 1


def _first_at(path: Path, offset: int) -> list[float]:
    with contextlib.suppress(OSError):
        return [record.event.at.timestamp() for record in read(path, offset, 1).records]
    return []
