"""How a session ends: once, for one reason, and the first reason counts.

The end is journaled in the voice's `close` event, when every item has been added, and not in the
job's last hooks: by then much time has passed, and they may never run. At a job's shutdown the
framework's own reason says nothing, so whatever was not ended here was ended by the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import structlog
from livekit import rtc
from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext

from agent.worker.listening import SpeechInFlight
from agent.worker.scribe import Scribe
from persistence.events import EndReason

log = structlog.get_logger("coach.ending")

ROOM_ENDS: Mapping[rtc.DisconnectReason.ValueType, EndReason] = {
    rtc.DisconnectReason.ROOM_DELETED: EndReason.ROOM_DELETED,
    # LiveKit closes a room by itself a while after the last person has left it
    rtc.DisconnectReason.ROOM_CLOSED: EndReason.CLIENT_LEFT,
}
"""What a room that is gone says of its session's end."""

FOR_GOOD = frozenset({EndReason.MAX_DURATION, EndReason.COMPLETED_BY_AI})
"""Ends after which nobody is to be called into the room for those who are still in it."""

SETTLED_SECONDS = 0.05
"""How long a closing voice waits for a final text when nothing was being said."""

HUSH_SECONDS = 0.5
"""How long a voice that is given up may take to stop what it is saying."""

CLOSE_SECONDS = 15.0
"""How long a voice may take to close; the session ends without it after that."""


class Ending:
    def __init__(
        self,
        ctx: JobContext,
        voice: AgentSession[None],
        scribe: Scribe,
        in_flight: SpeechInFlight,
        farewell: Callable[[], Awaitable[None]],
    ) -> None:
        self._farewell = farewell
        self._ctx = ctx
        self._voice = voice
        self._scribe = scribe
        self._in_flight = in_flight
        self._reason: EndReason | None = None
        self._gave_up = False
        self._started = self._left = False
        self._closing: asyncio.Task[None] | None = None

    @property
    def for_good(self) -> bool:
        """Whether the conversation is over, and with it what the room was for."""
        return self._gave_up or self._reason in FOR_GOOD

    def watch(self) -> None:
        """Watch for the room or the voice to go without being asked."""
        self._ctx.room.on("disconnected", self._room_lost)
        self._voice.on("close", self._closed)

    def end(self, reason: EndReason) -> None:
        """End the session for `reason`, unless it is ending already."""
        if self._reason is not None:
            return
        self._reason = reason
        if not self._in_flight.pending:
            self._voice.options.session_close_transcript_timeout = SETTLED_SECONDS
        self._close_by(self._close_and_leave(reason))

    def give_up(self) -> None:
        """End a session that cannot go on; the client is told so first."""
        if self._reason is None:
            self._reason, self._gave_up = EndReason.ERROR, True
            self._close_by(self._close_with_farewell())

    def fail(self) -> None:
        """Let the end be an error, whoever closes the voice now, unless it has its reason."""
        self._reason = self._reason or EndReason.ERROR

    def _close_by(self, closing: Coroutine[Any, Any, None]) -> None:
        self._closing = asyncio.create_task(closing, name="close_voice")
        self._closing.add_done_callback(self._close_failed)

    async def _close_and_leave(self, reason: EndReason) -> None:
        await self._close_voice()
        if self._started:  # else it closes when it has
            self._leave(reason)

    async def _close_with_farewell(self) -> None:
        with contextlib.suppress(Exception):  # a voice that is broken is silent by itself
            async with asyncio.timeout(HUSH_SECONDS):
                await self._voice.interrupt(force=True)
        await self._farewell()
        await self._close_voice()
        self._leave(EndReason.ERROR)

    async def _leave_with_farewell(self) -> None:
        """Leave after a voice that closed by itself: its farewell it cannot say."""
        await self._farewell()
        self._leave(EndReason.ERROR)

    async def _close_voice(self) -> None:
        async with asyncio.timeout(CLOSE_SECONDS):  # the framework itself sets no limit here
            await self._voice.aclose()

    async def voice_started(self) -> None:
        """Take note that the voice has started: a session that ended before it did closes it."""
        self._started = True
        if self._reason is not None:
            await self._close_and_leave(self._reason)

    def journal_end(self) -> None:
        """Journal the end for the reason known by now; what nothing closed was an error."""
        reason = self._reason or EndReason.ERROR
        self._in_flight.give_up(reason)
        self._scribe.end(reason)

    def _room_lost(self, reason: rtc.DisconnectReason.ValueType) -> None:
        # the framework closes the voice by itself now: only the reason is missing
        if self._reason is None:
            self._reason = ROOM_ENDS.get(reason, EndReason.ERROR)

    def _closed(self, event: CloseEvent) -> None:
        if self._gave_up:
            return  # whoever says the farewell leaves after it, also if the voice went before
        if self._reason is None and event.reason == CloseReason.ERROR:
            self._reason, self._gave_up = EndReason.ERROR, True
            self._close_by(self._leave_with_farewell())
            return
        self._reason = self._reason or EndReason.WORKER_SHUTDOWN
        self._leave(self._reason)

    def _leave(self, reason: EndReason) -> None:
        """End the job, once: a voice may close without a word, and may say it too."""
        self.journal_end()
        if not self._left:
            self._left = True
            self._ctx.shutdown(reason)

    def _close_failed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("close_failed", error=type(error).__name__)
            self._scribe.recorder.miss("voice_not_closed")
            self.journal_end()
            self._ctx.shutdown(EndReason.ERROR)
