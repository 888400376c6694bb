"""The events that are not on disk yet, in order."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_BATCH_BYTES = 256 * 1024
"""Bytes of one group commit: bounds what a failed one writes again."""

MEMORY_BYTES = 64 * 1024 * 1024
"""Beyond this, `progress` is let go of. What people said is not: at some 600 bytes a turn this is
100,000 turns of one session, more than can be spoken in one, so memory stays bounded by speech."""


class _Line(NamedTuple):
    number: int
    data: bytes
    droppable: bool


class Backlog:
    """A queue of numbered lines (1, 2, …). Not thread-safe: its owner locks."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._lines: deque[_Line] = deque()
        self._offered = 0
        self._count = 0
        self._size = 0
        self._droppable = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def last(self) -> int:
        """The number of the last line that waits; 0 if none does."""
        return self._lines[-1].number if self._lines else 0

    def put(self, data: bytes, *, droppable: bool) -> None:
        full = self._size + len(data) > self._memory_bytes
        if full and droppable:
            self.dropped += 1
            return
        self._count += 1
        self._lines.append(_Line(self._count, data, droppable))
        self._size += len(data)
        self._droppable |= droppable
        if full and self._droppable:
            self._shed()

    def _shed(self) -> None:
        """Drop what is droppable, but for lines once offered to the disk.

        A reader may have seen those in the file before they were cut back, and reads on from
        after them: they must come again as they were.
        """
        kept = deque(
            line
            for index, line in enumerate(self._lines)
            if index < self._offered or not line.droppable
        )
        self.dropped += len(self._lines) - len(kept)
        self._lines = kept
        self._size = sum(len(line.data) for line in kept)
        self._droppable = False

    def head(self) -> bytes:
        """Return the next lines to write, about a batch of them; empty if none waits."""
        taken: list[bytes] = []
        size = 0
        for line in self._lines:
            if size >= _BATCH_BYTES:
                break
            taken.append(line.data)
            size += len(line.data)
        self._offered = max(self._offered, len(taken))
        return b"".join(taken)

    def remove(self, size: int) -> int:
        """Forget the first `size` bytes (whole lines); return the number of the last line of them.

        0 if `size` is 0.
        """
        number = 0
        while size > 0:
            line = self._lines.popleft()
            number = line.number
            size -= len(line.data)
            self._size -= len(line.data)
            self._offered = max(0, self._offered - 1)
        return number
