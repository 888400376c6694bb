"""A disk that fills quickly, for the journals of one campaign.

A process of its own keeps it, in a mount namespace of its own, and ends with whoever holds the
other end of its stdin: however chaos is stopped, nothing stays mounted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BYTES = 4 * 1024 * 1024
_KEEPER = 'mount -t tmpfs -o "size=$2,mode=700" none "$1" && echo mounted && read -r _'


def possible() -> bool:
    """Return whether a disk may be mounted here, as far as can be told before it is."""
    return os.geteuid() == 0 and shutil.which("unshare") is not None


@contextmanager
def small_disk(place: Path) -> Iterator[Path | None]:
    """Mount a disk of BYTES over `place`, a folder, for the block, and give the path to it.

    That is None where no disk may be mounted: by anyone but root, and outside Linux. What was left
    on it is copied beside `place` afterwards: it may be evidence.
    """
    if not possible():
        yield None
        return
    with subprocess.Popen(  # noqa: S603
        ["unshare", "--mount", "sh", "-c", _KEEPER, "sh", str(place), str(BYTES)],  # noqa: S607
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as keeper:
        mounted = next(iter(keeper.stdout or ()), b"") == b"mounted\n"
        disk = Path(f"/proc/{keeper.pid}/root{place.absolute()}")
        try:
            yield disk if mounted else None
        finally:
            if mounted:
                with contextlib.suppress(OSError):
                    shutil.copytree(disk, place.with_name("journal-left"), symlinks=True)
