"""Sessions that talk until SIGTERM: `appender_process.py <journal folder> <sessions>`.

Each has a journal of its own, and a turn every three seconds on average, at random. A turn's
`item_id` begins with when it happened, in nanoseconds of the clock that all processes of a machine
share: whoever sees it in Postgres can tell how long that took.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import uuid_utils.compat as uuids
from backlog import turn

from persistence.events import Completeness, Ended, EndReason, Receipt, Started
from persistence.journal import JournalWriter

MEAN_PAUSE_SECONDS = 3.0
BEGIN_WITHIN_SECONDS = 10.0
"""Not all of them in one moment: nowhere do a thousand people sit down at once."""
JOURNAL_BYTES = 2**32
_CLOSE_SECONDS = 30.0


async def _talk(folder: Path, over: asyncio.Event) -> None:
    if await _over_within(over, random.uniform(0, BEGIN_WITHIN_SECONDS)):
        return
    journal = JournalWriter.create(folder, uuids.uuid7(), max_bytes=JOURNAL_BYTES)
    now = datetime.now(UTC)
    journal.append(Started(at=now, room_name="bench", pipeline="stt-llm-tts", prompt_version="1"))
    seq = 0
    while not await _over_within(over, random.expovariate(1 / MEAN_PAUSE_SECONDS)):
        seq += 1
        said = turn(datetime.now(UTC), seq)
        item_id = f"{time.perf_counter_ns()}-{said.turn_id.hex}"
        journal.append(said.model_copy(update={"item_id": item_id}))
    receipt = Receipt(turn_count=seq, transcript_sha256="00", completeness=Completeness.COMPLETE)
    journal.append(Ended(at=datetime.now(UTC), reason=EndReason.CLIENT_LEFT, receipt=receipt))
    await asyncio.to_thread(journal.close, _CLOSE_SECONDS)


async def _over_within(over: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await over.wait()
    return False


async def _main(folder: Path, sessions: int) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    print("appending", flush=True)  # noqa: T201 whoever started this waits for it
    await asyncio.gather(*(_talk(folder, over) for _ in range(sessions)))


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2])))
