"""Nobody is left in silence: whoever has spoken hears something within 5 s, whatever has failed.

From the end of a client's speech, or of a typed message, the wait for an answer runs; the voice's
first sound ends it, and so does the client who goes on speaking. When it has run for
`NOTICE_SECONDS`, an answer that is under way gets a filler before it. Where none is (the words were
not recognised, the providers gave up, an answer broke off) the client is told so and asked to say
it again. After `GIVE_UP_AFTER` such losses in a row, or when the recogniser cannot be reached for
`DEAD_SECONDS`, the session ends with a farewell.

Speech is what the voice activity detector of this process takes for it: it does not depend on any
provider. A short sound that no recogniser makes words of is taken for a noise.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog
from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    ConversationItemAddedEvent,
    ErrorEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
    llm,
)
from livekit.agents.voice import SpeechHandle

from agent.worker.aside import Aside
from agent.worker.phrases import Phrase
from agent.worker.scribe import Scribe

log = structlog.get_logger("coach.voice")

PREPARE_SECONDS = 1.6
"""From here on a phrase may be needed; until here nothing is done that a quick answer does without.
"""

NOTICE_SECONDS = 3.0
"""When to say something; 2 s before the promise, for the way to the client's ear. That takes 0.2 s,
and 0.5 s with ten times the work that the machine can do (the track to be published, mostly)."""

OWN_VOICE_SECONDS = 0.3
"""How much longer a phrase in the coach's own voice is waited for at that time."""

FILLERS = 2
"""So often is an answer under way waited for; then it counts as lost."""

GIVE_UP_AFTER = 3
DEAD_SECONDS = 12.0
APART_SECONDS = 15.0
"""Failures of the recogniser further apart than this are not one."""

NOISE_SECONDS = 0.5
"""Sounds shorter than this, without words, are not speech."""


class Silence:
    """Watches one session; `give_up` ends it."""

    def __init__(
        self,
        voice: AgentSession[None],
        aside: Aside,
        scribe: Scribe,
        give_up: Callable[[], None],
    ) -> None:
        self._voice = voice
        self._aside = aside
        self._scribe = scribe
        self._give_up = give_up
        self._timers: list[asyncio.TimerHandle] = []
        self._saying: set[asyncio.Task[None]] = set()
        self._sorry: asyncio.Task[None] | None = None
        self._waiting = False
        self._fillers = 0
        self._lost = 0
        self._words = False
        self._broken = False
        self._ended = False
        self._began = 0.0
        self._speech_seconds = 0.0
        self._answered = False
        self._deaf_since = self._deaf_last = -APART_SECONDS

    def watch(self) -> None:
        """Watch from now on; the greeting is waited for like an answer, once it is begun."""
        voice = self._voice
        voice.on("user_state_changed", self._client_changed)
        voice.on("user_input_transcribed", self._transcribed)
        voice.on("conversation_item_added", self._item_added)
        voice.on("agent_state_changed", self._ai_changed)
        voice.on("speech_created", lambda e: e.speech_handle.add_done_callback(self._speech_done))
        voice.on("error", self._failed)
        voice.on("close", lambda _: self.rest())

    def rest(self) -> None:
        """Wait for nothing."""
        self._waiting = False
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    def _client_changed(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._began, self._broken = event.created_at, False
            self._aside.stop()
            self.rest()
        elif event.old_state == "speaking":
            self._speech_seconds = event.created_at - self._began
            self._fillers = 0
            if self._voice.agent_state != "speaking":
                self._wait(max(0.0, time.time() - event.created_at))

    def _transcribed(self, event: UserInputTranscribedEvent) -> None:
        if event.transcript.strip():
            self._words = True
            self._deaf_last = -APART_SECONDS

    def _item_added(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        self._words = self._words or (item.type == "message" and item.role == "user")

    def _ai_changed(self, event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self.rest()
            self._fillers, self._words = 0, False
        elif event.new_state == "thinking":
            if not self._waiting and self._voice.user_state != "speaking":
                self._wait()
        elif self._broken and event.old_state in ("thinking", "speaking"):
            self._broken = False
            self._lose()
        elif event.old_state == "speaking":
            self._lost, self._answered = 0, True

    def _speech_done(self, speech: SpeechHandle) -> None:
        # answers begun before it was sure that they are wanted fail unheard: they are interrupted
        if not speech.interrupted and speech.exception() is not None:
            self._lose()

    def _failed(self, event: ErrorEvent) -> None:
        recoverable = bool(getattr(event.error, "recoverable", True))
        match getattr(event.error, "type", ""):
            case "stt_error":
                # recoverable or not: attempts that hang are never counted up by the framework
                self._deafened(asyncio.get_running_loop().time())
            case "tts_error" if not recoverable:
                self._broken = True
            case "realtime_model_error" if not recoverable:
                # the framework closes the voice now, and was seen to fail in it without a word
                self._end()

    def _deafened(self, now: float) -> None:
        if now - self._deaf_last > APART_SECONDS:
            self._deaf_since = now
        self._deaf_last = now
        if now - self._deaf_since >= DEAD_SECONDS:
            self._end()

    def _wait(self, waited: float = 0.0) -> None:
        """Begin to wait, or begin anew; `waited` seconds have gone by."""
        self.rest()
        if self._ended:
            return
        self._waiting = True
        later = asyncio.get_running_loop().call_later
        self._timers = [
            later(PREPARE_SECONDS - waited, self._aside.prepare, Phrase.FILLER, Phrase.APOLOGY),
            later(NOTICE_SECONDS - waited, self._notice),
        ]

    def _notice(self) -> None:
        """Say that the client has to wait, or need not wait."""
        if self._under_way() and self._fillers < FILLERS:
            self._fillers += 1
            self._say(Phrase.FILLER)
        elif not self._under_way() and self._was_noise():
            self.rest()
        else:
            self._lose()

    def _under_way(self) -> bool:
        """Whether an answer may be on its way; what a Realtime provider does is not known."""
        voice = self._voice
        realtime = isinstance(voice.llm, llm.RealtimeModel) and not self._fillers
        return voice.current_speech is not None or voice.agent_state == "thinking" or realtime

    def _was_noise(self) -> bool:
        deaf = asyncio.get_running_loop().time() - self._deaf_last < APART_SECONDS
        return not (self._words or deaf) and 0 < self._speech_seconds < NOISE_SECONDS

    def _lose(self) -> None:
        """Say once that there will be no answer, unless the client speaks; too often is the end."""
        sorry = self._sorry is not None and not self._sorry.done()
        if sorry or self._ended or self._voice.user_state == "speaking":
            return
        self.rest()
        self._lost += 1
        if self._voice.current_speech is not None:
            with contextlib.suppress(RuntimeError):  # a voice that is closing has stopped
                self._voice.interrupt()
        if self._answered and not self._words:
            self._scribe.recorder.miss("speech_unheard")
        if self._lost >= GIVE_UP_AFTER:
            self._end()
        elif self._answered or self._words:
            self._sorry = self._say(Phrase.APOLOGY)
        else:
            self._answered = True
            self._sorry = self._say(Phrase.WELCOME)
        self._words = False

    def _end(self) -> None:
        self._ended = True
        self.rest()
        self._give_up()

    def _say(self, phrase: Phrase) -> asyncio.Task[None]:
        task = asyncio.create_task(self._said(phrase), name="aside")
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)
        return task

    async def _said(self, phrase: Phrase) -> None:
        """Say `phrase`, unless an answer has just begun; a wait goes on after it."""
        if self._voice.agent_state == "speaking":
            return
        log.info("aside_said", phrase=phrase)
        recorder = self._scribe.recorder
        self._scribe.write(lambda now: recorder.marker(now, phrase))
        await self._aside.say(phrase, within=OWN_VOICE_SECONDS)
        if self._waiting:
            self._wait()
