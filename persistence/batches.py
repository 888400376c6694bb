"""What goes to Postgres next, read while Postgres works on what went before.

Postgres and the reading of journals cost about the same, and run on two cores. Reading begins once
Postgres has all of a batch, which would else wait behind it for every answer on its way; and it is
done a little at a time, since the event loop that it holds up meanwhile is others' too. A session
is in one batch at a time, so that its events keep their order whatever becomes of a batch.

What a job has written is seen before it is durable. It is made so before it goes: Postgres is to
hold nothing that the journal may not, or the end of a recovered session would tell it once more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from persistence.streams import Stream, Streams, Taken

BATCH_ROWS = 2000
"""Beyond this a row gets no cheaper, and the rows of a batch are locked the longer."""
BATCH_BYTES = 8 * 1024 * 1024
_LEAST = 7
"""So many times a batch is halved at most, to a few rows and 64 KiB."""
_SYNC_AGAIN_SECONDS = 1.0
_SLICE_LINES = 300
"""Read at once: about a millisecond."""


class Batches:
    """The batches of one shipper, one after the other."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._next: list[Taken] = []
        self._rows = self._bytes = 0
        self._halved = 0

    async def next(self) -> list[Taken]:
        """Return what there is, up to a batch; all of it is durable."""
        await self._fill()
        batch = self._next
        self._next, self._rows, self._bytes = [], 0, 0
        unsure = [part.stream for part in batch if part.offset > part.stream.durable]
        if not unsure:
            return batch
        try:
            await asyncio.to_thread(_sync, unsure)
        except BaseException:
            self._streams.give_back(batch)
            raise
        return [part for part in batch if self._durable(part)]

    def _durable(self, part: Taken) -> bool:
        """Return whether a part may go; what the disk refuses to sync is tried again later."""
        if part.offset <= part.stream.durable:
            return True
        self._streams.failed(part.stream, time.monotonic(), _SYNC_AGAIN_SECONDS)
        return False

    def smaller(self) -> None:
        """Halve the next batches: a database that is slow may have had no time for this one."""
        self._halved = min(self._halved + 1, _LEAST)

    def larger(self) -> None:
        """Let batches grow again: one has gone through."""
        self._halved = max(self._halved - 1, 0)

    @asynccontextmanager
    async def reading_ahead(self) -> AsyncIterator[Callable[[], None]]:
        """Give what begins to read for the next batch; that is over with the block."""
        reading: list[asyncio.Task[None]] = []

        def begin() -> None:
            if not reading:
                reading.append(asyncio.create_task(self._fill()))

        try:
            yield begin
        finally:
            for task in reading:
                task.cancel()
                await asyncio.wait([task])
        for task in reading:
            if not task.cancelled():
                task.result()

    async def _fill(self) -> None:
        rows, size = max(1, BATCH_ROWS >> self._halved), BATCH_BYTES >> self._halved
        while self._rows < rows and self._bytes < size:
            taken = self._streams.take(
                rows - self._rows, size - self._bytes, _SLICE_LINES, time.monotonic()
            )
            for part in taken:
                part.passage.prepare()
            self._next += taken
            self._rows += sum(part.rows for part in taken)
            self._bytes += sum(part.size for part in taken)
            if sum(part.lines for part in taken) < _SLICE_LINES:
                return  # that was all
            await asyncio.sleep(0)

    def give_back(self) -> None:
        """Forget what was read ahead: it comes again."""
        self._streams.give_back(self._next)
        self._next, self._rows, self._bytes = [], 0, 0


def _sync(streams: Sequence[Stream]) -> None:
    """Make what is in journals durable, and note how much that is. Blocks."""
    for stream in streams:
        with contextlib.suppress(OSError), stream.path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            os.fdatasync(file.fileno())
            stream.durable = size
