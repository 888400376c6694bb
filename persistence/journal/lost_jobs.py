"""Which jobs died a moment ago, by their journals: nobody has told their rooms yet."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from persistence.disk import is_locked
from persistence.events import Started
from persistence.journal.lines import read


def lost_jobs(folder: Path, within: float) -> list[Started]:
    """Return the starts of the dead jobs' sessions in `folder` whose last sign of life is young.

    `within` is how old that may be, in seconds. What cannot be read is left out.
    """
    found: list[Started] = []
    for path in folder.glob("*.journal"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime <= within and not is_locked(path):
                first = (record.event for record in read(path, limit=1).records)
                found += [event for event in first if isinstance(event, Started)]
    return found
