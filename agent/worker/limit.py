"""No session without an end: its client is told in time, and is not cut off in a word.

All of it goes by the event loop's clock, which is the monotonic one. Words are the same each time,
so that no model has to find them; in a language that they are not written in, and with a Realtime
model, which has no other voice, the model is asked to say them.

The words are said to their end, whatever the client says meanwhile. To speech that may not be
interrupted the framework drops every answer; so this is speech that so many words would interrupt
as nobody says. Then what the client says stays the client's turn, and is answered after the words.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog
from livekit.agents import AgentSession, UserStateChangedEvent
from livekit.agents.voice import SpeechHandle

import prompts
from agent.settings import Pipeline, Settings
from agent.worker.absence import Absence
from agent.worker.ending import Ending
from agent.worker.listening import SpeechInFlight
from agent.worker.options import SessionOptions
from agent.worker.scribe import Scribe
from persistence.events import EndReason

log = structlog.get_logger("coach.limit")

UTTERANCE_SECONDS = 8.0
"""How long a client who is speaking is let finish before the AI speaks of the time."""

SPEECH_SECONDS = 20.0
"""How long the AI's words may take, with what it is saying before them."""

LAST_WORD_SECONDS = 3.0
"""How long a client may still be speaking after the goodbye."""

NEVER_SAID = 1_000_000
"""More words than anybody says at a time."""

LARGEST_SHARE = 0.25
"""How much of a session the time after the warning is at most."""

_LANGUAGE = "en"
"""Of the words in `prompts/spoken`."""


def lengths(settings: Settings) -> tuple[float, float]:
    """Return how long a session may last, and how long before its end to warn (seconds)."""
    maximum = settings.max_session_minutes * 60
    return maximum, warning_seconds(maximum, settings.session_warning_minutes * 60)


def warning_seconds(maximum: float, wanted: float) -> float:
    """Return how long before the end to warn: as `wanted`, less in a short session (seconds)."""
    return min(wanted, maximum * LARGEST_SHARE)


@dataclass
class Limit:
    """The time of one session; it runs from when this is made. Lengths are in seconds."""

    voice: AgentSession[None]
    ending: Ending
    absence: Absence
    in_flight: SpeechInFlight
    scribe: Scribe
    options: SessionOptions
    maximum: float
    warning: float
    """How long before the end the client is told; 0: not at all."""
    began: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    telling: bool = False
    """Whether the client is being told; that is to be heard to its end."""

    async def keep(self) -> None:
        """Tell the client when the time is nearly up, and end the session when it is."""
        if self.warning:
            await self._until(self.maximum - self.warning)
            self.scribe.write(lambda now: self.scribe.recorder.marker(now, "time_warning"))
            await self._say("time_warning")
            self._answer()
        await self._until(self.maximum)
        await self._say("time_up")
        await self._client_silent(LAST_WORD_SECONDS)
        log.info("time_up")
        self.ending.end(EndReason.MAX_DURATION)

    async def _until(self, age: float) -> None:
        await asyncio.sleep(self.began + age - asyncio.get_running_loop().time())

    async def _say(self, name: str) -> None:
        """Say `prompts/spoken/<name>` once nobody speaks; nothing keeps the end waiting."""
        if self.absence.away:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SPEECH_SECONDS):
                if (reply := self.voice.current_speech) is not None:
                    await reply.wait_for_playout()
        await self._client_silent(UTTERANCE_SECONDS)
        with contextlib.suppress(TimeoutError), self._undisturbed():
            async with asyncio.timeout(SPEECH_SECONDS):
                try:
                    await self._speech(prompts.spoken(name).text).wait_for_playout()
                except RuntimeError:  # the voice is closing: the session ends anyhow
                    log.warning("time_unspoken", kind=name)

    @contextlib.contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Have nothing that the client says in the block cut short what is being said."""
        interruption = self.voice.options.interruption
        usual = interruption.copy()
        interruption.update({"min_words": NEVER_SAID, "resume_false_interruption": False})
        self.telling = True
        try:
            yield
        finally:
            self.telling = False
            interruption.update(usual)

    def _answer(self) -> None:
        """Answer what the client has said into the words; who still speaks is answered anyhow."""
        if self.in_flight.unanswered:
            with contextlib.suppress(RuntimeError):  # a voice that is closing
                self.voice.commit_user_turn(transcript_timeout=0, stt_flush_duration=0)

    def _speech(self, words: str) -> SpeechHandle:
        foreign = self.options.language.split("-")[0].lower() != _LANGUAGE
        if foreign or self.options.pipeline is Pipeline.REALTIME:
            return self.voice.generate_reply(instructions=_request(words))
        return self.voice.say(words)

    async def _client_silent(self, within: float) -> None:
        """Wait for the end of what the client is saying, `within` seconds at most."""
        silent = asyncio.Event()

        def changed(event: UserStateChangedEvent) -> None:
            if event.new_state != "speaking":
                silent.set()

        self.voice.on("user_state_changed", changed)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    if self.voice.user_state == "speaking":
                        await silent.wait()
        finally:
            self.voice.off("user_state_changed", changed)


def _request(words: str) -> str:
    return f"{prompts.load('announcement').text}\n\n{words}"
