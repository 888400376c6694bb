"""What a worker with its jobs uses of its machine: told with its lease, for who looks after it."""

from __future__ import annotations

import contextlib
import time

import psutil

from persistence.liveness import Usage


class UsageMeter:
    """Measures this process and all that it started."""

    def __init__(self) -> None:
        self._worker = psutil.Process()
        self._busy: dict[int, float] = {}
        self._measured_at = time.monotonic()

    def measure(self) -> Usage:
        """Return what is used; blocks for some milliseconds, so it is called in a thread."""
        memory, busy = 0, {}
        for process in [self._worker, *self._worker.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):  # it is gone by now
                times = process.cpu_times()
                memory += process.memory_info().rss
                busy[process.pid] = times.user + times.system
        now = time.monotonic()
        spent = sum(seconds - self._busy.get(pid, 0.0) for pid, seconds in busy.items())
        passed = max(now - self._measured_at, 1e-6)
        self._busy, self._measured_at = busy, now
        return Usage(memory, max(0.0, spent / passed * 100))
