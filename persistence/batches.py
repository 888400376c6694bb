"""What goes to Postgres next, read while Postgres works on what went before.

Postgres and the reading of journals cost about the same, and run on two cores. Reading begins once
Postgres has all of a batch, which would else wait behind it for every answer on its way; and it is
done a little at a time, since the event loop that it holds up meanwhile is others' too. A session
is in one batch at a time, so that its events keep their order whatever becomes of a batch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from persistence.streams import Streams, Taken

BATCH_ROWS = 2000
"""Beyond this a row gets no cheaper, and the rows of a batch are locked the longer."""
BATCH_BYTES = 8 * 1024 * 1024
_SLICE_LINES = 300
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
        while self._rows < BATCH_ROWS and self._bytes < BATCH_BYTES:
            taken = self._streams.take(
                BATCH_ROWS - self._rows, BATCH_BYTES - self._bytes, _SLICE_LINES, time.monotonic()
            )
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
