"""Events for the journal's tests, and the processes that they kill.

As a script: `journaling.py write|fork <folder> <session>` or `journaling.py claim <journal dir>`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from persistence import folders
from persistence.events import Progress, Role, Segment, Started, Turn
from persistence.journal import JournalWriter

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROOMY = 1024**3


def started() -> Started:
    return Started(at=T0, room_name="room", pipeline="stt-llm-tts", prompt_version="1")


def turn(seq: int, text: str = "I slept badly all week, and it shows at work.") -> Turn:
    said = T0 + timedelta(seconds=seq)
    return Turn(
        at=said,
        turn_id=uuid4(),
        seq=seq,
        item_id=f"item-{seq}",
        role=Role.CLIENT,
        speaker_identity="client-1",
        text=text,
        started_at=said,
        ended_at=said,
        metrics={"transcription_delay": 0.2},
    )


def segment(seconds: float, text: str = "and then") -> Segment:
    said = T0 + timedelta(seconds=seconds)
    return Segment(
        at=said,
        segment_id=uuid4(),
        role=Role.CLIENT,
        speaker_identity="client-1",
        text=text,
        started_at=said,
        ended_at=said,
    )


def progress(seconds: float, text: str = "Take a") -> Progress:
    said = T0 + timedelta(seconds=seconds)
    return Progress(at=said, reply_id="reply", text=text, started_at=said)


@contextmanager
def process(*arguments: str | Path | UUID) -> Iterator[subprocess.Popen[str]]:
    """Run this file as a script; killed at the end, its stdin is a pipe that says how long."""
    child = subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread brings about."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # a thread's doing: nothing to await
            await asyncio.sleep(0.002)


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def write(folder: Path, session_id: UUID) -> None:
    """Journal turns without end; say each one's number once it is acknowledged."""
    journal = JournalWriter.create(folder, session_id, max_bytes=ROOMY)
    seq = 0
    while True:
        for _ in range(1 + seq % 5):
            seq += 1
            journal.append(turn(seq))
        if await journal.durable(10):
            say(seq)


async def fork(folder: Path, session_id: UUID) -> None:
    """Journal a turn, leave a forked and an executed child behind, wait to be killed."""
    journal = JournalWriter.create(folder, session_id, max_bytes=ROOMY)
    journal.append(turn(1))
    await journal.durable(10)
    command = ["cat"]
    subprocess.Popen(command, stdout=subprocess.DEVNULL, close_fds=False)  # noqa: ASYNC220
    if os.fork() == 0:
        say("ready")
        sys.stdin.read()
        os._exit(0)
    await asyncio.Event().wait()


def claim(journal_dir: Path) -> None:
    """Claim a folder the moment that stdin says so; hold it until stdin ends."""
    say("ready")
    sys.stdin.readline()
    folder = folders.claim(journal_dir)
    say(folder.worker_id)
    sys.stdin.read()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    match sys.argv[1:]:
        case ["write", folder, session]:
            asyncio.run(write(Path(folder), UUID(session)))
        case ["fork", folder, session]:
            asyncio.run(fork(Path(folder), UUID(session)))
        case ["claim", journal_dir]:
            claim(Path(journal_dir))
