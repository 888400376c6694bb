"""How late the machine is: what a promise in seconds has to allow for where others work too.

A beat that should come every 20 ms comes late by as long as a process had to wait for a processor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

BEAT_SECONDS = 0.02

HOPS = 10
"""So often is a processor waited for between a word and the sound of its answer: client, server,
job, provider, and back, with threads of their own in each."""


class Lateness:
    """Kept by a thread, so that a busy event loop counts too."""

    def __init__(self) -> None:
        self._beats: list[tuple[float, float]] = []
        self._over = threading.Event()

    def allowance(self, since: float) -> float:
        """Return how much longer than promised something may have taken since then (seconds)."""
        return HOPS * max((late for at, late in self._beats if at >= since), default=0.0)

    def _keep(self) -> None:
        expected = time.monotonic() + BEAT_SECONDS
        while not self._over.wait(BEAT_SECONDS):
            now = time.monotonic()
            self._beats.append((now, max(0.0, now - expected)))
            expected = now + BEAT_SECONDS

    @contextmanager
    def kept(self) -> Iterator[Lateness]:
        """Keep it for the block's time."""
        thread = threading.Thread(target=self._keep, name="lateness", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()
