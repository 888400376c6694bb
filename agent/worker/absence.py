"""What a client's leaving means: on purpose an end, by accident a grace time to come back.

A network that is lost for a moment must not end a conversation, and a client who hangs up must not
leave one open.
"""

from __future__ import annotations

import asyncio

from livekit import rtc
from livekit.agents import JobContext

from agent.worker.ending import ROOM_ENDS, Ending
from agent.worker.presence import Arrival
from agent.worker.scribe import Scribe
from persistence.events import EndReason

LEFT_ON_PURPOSE = frozenset(
    {rtc.DisconnectReason.CLIENT_INITIATED, rtc.DisconnectReason.USER_REJECTED}
)


class Absence:
    """Watches one client of a room, by identity."""

    def __init__(self, ending: Ending, scribe: Scribe, *, grace_seconds: float) -> None:
        self._ending = ending
        self._scribe = scribe
        self._grace_seconds = grace_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._identity = ""

    def watch(self, ctx: JobContext, client: Arrival) -> None:
        """Watch `client` leave the room and come back."""
        if ctx.is_fake_job():
            return
        self._identity = client.identity
        ctx.room.on("participant_connected", self._came)
        ctx.room.on("participant_disconnected", self._went)
        if self._identity not in ctx.room.remote_participants:
            self._lose()  # gone between joining and now

    @property
    def away(self) -> bool:
        """Whether the client is not there, and may come back."""
        return self._timer is not None

    def _came(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._identity and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._scribe.write(lambda now: self._scribe.recorder.marker(now, "client_returned"))

    def _went(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity != self._identity:
            return
        reason = participant.disconnect_reason
        if reason in LEFT_ON_PURPOSE:
            self._ending.end(EndReason.CLIENT_LEFT)
        elif reason is not None and reason in ROOM_ENDS:
            self._ending.end(ROOM_ENDS[reason])
        else:
            self._lose()

    def _lose(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._scribe.write(lambda now: self._scribe.recorder.marker(now, "client_dropped"))
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._grace_seconds, self._ending.end, EndReason.CLIENT_LEFT)
