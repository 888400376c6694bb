"""What goes to Postgres next, read while Postgres works on what went before.

Postgres and the reading of journals cost about the same, and run on two cores. Reading is done a
little at a time, since the event loop that it holds up meanwhile is others' too. A session is in
one batch at a time, so that its events keep their order whatever becomes of a batch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from persistence.streams import Streams, Taken

BATCH_ROWS = 2000
"""Beyond this a row gets no cheaper, and the rows of a batch are locked the longer."""
BATCH_BYTES = 8 * 1024 * 1024
_SLICE_ROWS = 100
"""Read at once: about a millisecond."""


class Batches:
    """The batches of one shipper, one after the other."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._next: list[Taken] = []
        self._rows = self._bytes = 0

    async def next(self) -> list[Taken]:
        """Return what there is, up to a batch."""
        await self._fill()
        batch = self._next
        self._next, self._rows, self._bytes = [], 0, 0
        return batch

    @asynccontextmanager
    async def reading_ahead(self) -> AsyncIterator[None]:
        """Read for the next batch while the block waits for something else."""
        reading = asyncio.create_task(self._fill())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.wait([reading])
        if not reading.cancelled():
            reading.result()

    async def _fill(self) -> None:
        while self._rows < BATCH_ROWS and self._bytes < BATCH_BYTES:
            taken = self._streams.take(
                BATCH_ROWS - self._rows, BATCH_BYTES - self._bytes, _SLICE_ROWS, time.monotonic()
            )
            rows = sum(part.rows for part in taken)
            self._next += taken
            self._rows += rows
            self._bytes += sum(part.size for part in taken)
            if rows < _SLICE_ROWS:
                return  # that was all
            await asyncio.sleep(0)

    def give_back(self) -> None:
        """Forget what was read ahead: it comes again."""
        self._streams.give_back(self._next)
        self._next, self._rows, self._bytes = [], 0, 0
