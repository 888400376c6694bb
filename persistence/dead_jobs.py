"""The sessions of jobs that died: their journal is free, and nothing in it ended them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

import structlog

from persistence.events import EndReason
from persistence.journal import ended, is_locked, recover
from persistence.streams import Stream, Streams

log = structlog.get_logger("coach.shipper")


_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 30.0
"""Seconds until a journal is tried again that could not be ended; doubled each time. To try costs
reading all of it, and where a disk is full there may be many."""


class _Refusal(NamedTuple):
    pause: float
    again_at: float


class DeadJobs:
    """Ends, by their journals, what dead jobs left unended; what it journals is to be shipped."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._ending = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._refused: dict[UUID, _Refusal] = {}
        self.ended = 0
        """How many sessions were ended so."""

    def look(self) -> None:
        """Begin to do as `end` does, unless that is under way; raises what went wrong last time.

        Nobody waits for it: to ask a thousand jobs whether they live takes longer than all else
        that happens between a word and its row.
        """
        if self._looking is not None and not self._looking.done():
            return
        looked, self._looking = self._looking, asyncio.create_task(self.end())
        if looked is not None:
            looked.result()

    async def settled(self) -> None:
        """Return once nothing is under way; says what went wrong in it, as nobody looks again."""
        if self._looking is None:
            return
        await asyncio.wait([self._looking])
        if not self._looking.cancelled() and (error := self._looking.exception()):
            log.error("dead_jobs_not_looked_for", exc_info=error)

    async def end(self) -> None:
        """Journal the end of sessions whose job is dead."""
        async with self._ending:  # a lock that is taken to end a session looks like its job's
            now = time.monotonic()
            due = [stream for stream in self._streams if self._again_at(stream) <= now]
            for stream in await asyncio.to_thread(_left_open, due):
                if await self._end(stream):
                    self._streams.wake([stream.session_id])

    def hurry(self) -> None:
        """Let everything be tried at once that waits for another try."""
        self._refused.clear()

    def _again_at(self, stream: Stream) -> float:
        refusal = self._refused.get(stream.session_id)
        return refusal.again_at if refusal else 0.0

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
        except Exception as error:  # noqa: BLE001 one must not end the shipping of all
            self._put_off(stream, error)
            return False
        self._refused.pop(stream.session_id, None)
        self.ended += ended
        return ended

    def _put_off(self, stream: Stream, error: Exception) -> None:
        """Try again later; say so once."""
        before = self._refused.get(stream.session_id)
        pause = min(2 * before.pause, _LONGEST_PAUSE) if before else _FIRST_PAUSE
        self._refused[stream.session_id] = _Refusal(pause, time.monotonic() + pause)
        if before is None:
            code = errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else None
            log.error(
                "session_not_recovered",
                session_id=str(stream.session_id),
                error=code or type(error).__name__,
                exc_info=code is None,  # where a disk failed says nothing more
            )


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
