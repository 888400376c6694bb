"""What a process of a campaign says of itself: lines of JSON in a file of its own.

Written at once and in one piece, so that they are there however the process dies: its own memory is
gone then, what the kernel has taken is not. Times are `time.monotonic()`, one clock for all
processes of a machine.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Record:
    """The file of one process."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def say(self, event: str, **what: Any) -> None:
        """Write that `event` happened now."""
        entry = {"t": time.monotonic(), "event": event, **what}
        os.write(self._fd, json.dumps(entry).encode() + b"\n")


def read(path: Path) -> list[Entry]:
    """Return what was said so far; nothing of a process that never was."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def first(path: Path, event: str) -> Entry | None:
    """Return the first entry of that event, None before there is one."""
    return next((entry for entry in read(path) if entry["event"] == event), None)
