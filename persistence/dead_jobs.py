"""The sessions of jobs that died: their journal is free, and nothing in it ended them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import structlog

from persistence.events import EndReason
from persistence.journal import ended, is_locked, recover
from persistence.streams import Stream, Streams

log = structlog.get_logger("coach.shipper")


class DeadJobs:
    """Ends, by their journals, what dead jobs left unended; what it journals is to be shipped."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._ending = asyncio.Lock()
        self.ended = 0
        """How many sessions were ended so."""

    async def end(self) -> None:
        """Journal the end of sessions whose job is dead."""
        async with self._ending:  # a lock that is taken to end a session looks like its job's
            for stream in await asyncio.to_thread(_left_open, list(self._streams)):
                if await self._end(stream):
                    self._streams.wake([stream.session_id])

    async def end_left_behind(self, pause: float) -> int:
        """End the sessions that an earlier worker left here; return how many that were.

        Waits for those jobs of it that still run, looking every `pause` seconds.
        """
        left = [stream for stream in self._streams if stream.left_behind]
        ended = 0
        while left:
            running = []
            for stream in left:
                if _job_runs(stream):
                    running.append(stream)
                else:
                    ended += await self._end(stream)
            if left := running:
                await asyncio.sleep(pause)
        return ended

    async def _end(self, stream: Stream) -> bool:
        """Journal the end of a dead job's session; return whether it is this call that did.

        What the disk refuses, or cannot be understood, holds up nothing else: it is said, and
        tried again.
        """
        reason = EndReason.WORKER_LOST if stream.left_behind else EndReason.ERROR
        try:
            ended = await asyncio.to_thread(recover, stream.path, reason)
        except OSError as error:
            log.error(  # noqa: TRY400 where it happened says nothing more
                "session_not_recovered", session_id=str(stream.session_id), error=error.errno
            )
            return False
        except Exception as error:  # what is wrong with one must not end the shipping of all
            log.exception(
                "session_not_recovered",
                session_id=str(stream.session_id),
                error=type(error).__name__,
            )
            return False
        self.ended += ended
        return ended


def _left_open(streams: Iterable[Stream]) -> list[Stream]:
    """Return those whose job is dead and did not end them; reads the last lines of files."""
    return [
        stream
        for stream in streams
        if not (stream.ended or stream.over or _job_runs(stream) or _is_over(stream))
    ]


def _is_over(stream: Stream) -> bool:
    with contextlib.suppress(OSError):  # `recover` says what is wrong with it
        stream.over = ended(stream.path)
    return stream.over


def _job_runs(stream: Stream) -> bool:
    try:
        return is_locked(stream.path)
    except OSError:
        return False  # `recover` says what is wrong with it
