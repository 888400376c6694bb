"""The AI coach: LiveKit's agent with our prompts, and with ears at both ends of the pipeline.

A final transcript is recorded where it comes out of the recogniser, before the framework decides
whether it becomes a turn; the AI's text where it goes to be spoken, before it is known how much of
it will be heard. Its voice waits at the end of the pipeline while something is said beside it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterable
from datetime import timedelta

from livekit import rtc
from livekit.agents import Agent, AgentSession, APIError, ErrorEvent, ModelSettings, llm, stt, tts
from livekit.agents.voice import io

from agent.worker.aside import Aside
from agent.worker.listening import SpeechInFlight
from agent.worker.recorder import Utterance
from agent.worker.scribe import Scribe

LETTERS_PER_SECOND = 60.0
"""No voice is faster; people say about 15. What claims to be is an error page taken for sound."""


class Coach(Agent):
    def __init__(
        self,
        *,
        instructions: str,
        greeting: str,
        scribe: Scribe,
        aside: Aside,
        in_flight: SpeechInFlight,
    ) -> None:
        super().__init__(instructions=instructions)
        self._greeting = greeting
        self._scribe = scribe
        self._aside = aside
        self._in_flight = in_flight
        self._interim: stt.SpeechEvent | None = None

    async def on_enter(self) -> None:
        """Open the conversation."""
        self.session.on("error", self._provider_failed)
        if isinstance(self.session.stt, stt.FallbackAdapter):
            self.session.stt.on("stt_availability_changed", self._recogniser_changed)
        self.session.generate_reply(instructions=self._greeting)

    async def on_exit(self) -> None:
        """Have a Realtime provider say what it owes: a moment later nobody listens to it.

        This is so whoever closes the voice.
        """
        if isinstance(self.session.llm, llm.RealtimeModel):
            await self._in_flight.settled(self.realtime_llm_session.commit_audio)
            with contextlib.suppress(RuntimeError):  # an answer to these words may have begun
                self.session.interrupt(force=True)

    async def stt_node(
        self, audio: AsyncIterable[rtc.AudioFrame], model_settings: ModelSettings
    ) -> AsyncGenerator[stt.SpeechEvent, None]:
        """Record every final transcript as a segment on its way."""
        async for event in Agent.default.stt_node(self, audio, model_settings):
            self._take(event)
            yield event

    async def tts_node(
        self, text: AsyncIterable[str], model_settings: ModelSettings
    ) -> AsyncGenerator[rtc.AudioFrame, None]:
        """Speak, once nothing is being said beside the conversation.

        Raises APIError for what cannot be the speech of this text: far too short for it.
        """
        said: list[str] = []
        seconds = 0.0
        async for frame in Agent.default.tts_node(self, _kept(text, said), model_settings):
            if self._aside.speaking:
                await self._aside.over()
            seconds += frame.duration
            yield frame
        if sum(map(str.isalnum, "".join(said))) > seconds * LETTERS_PER_SECOND:
            error = APIError("the speech is too short for its text", retryable=False)
            self._report(error)
            raise error

    async def realtime_audio_output_node(
        self, audio: AsyncIterable[rtc.AudioFrame], model_settings: ModelSettings
    ) -> AsyncGenerator[rtc.AudioFrame, None]:
        """Speak as `tts_node` does."""
        async for frame in Agent.default.realtime_audio_output_node(self, audio, model_settings):
            if self._aside.speaking:
                await self._aside.over()
            yield frame

    async def transcription_node(
        self, text: AsyncIterable[str | io.TimedString], model_settings: ModelSettings
    ) -> AsyncGenerator[str | io.TimedString, None]:
        """Note what the AI is about to say."""
        speech = self.session.current_speech
        async for delta in Agent.default.transcription_node(self, text, model_settings):
            if speech is not None:
                self._note_generated(speech.id, str(delta))
            yield delta

    def _take(self, event: stt.SpeechEvent) -> None:
        match event.type:
            case stt.SpeechEventType.INTERIM_TRANSCRIPT if event.alternatives:
                self._interim = event
            case stt.SpeechEventType.FINAL_TRANSCRIPT if event.alternatives:
                self._interim = None
                self._record_segment(event)
            case stt.SpeechEventType.END_OF_SPEECH:
                self._interim = None  # an end without a final one takes back what was guessed

    def _report(self, error: APIError) -> None:
        """Report a fault of the voice that its plugin took for speech."""
        if self.session.tts is not None:
            label = self.session.tts.label
            fault = tts.TTSError(timestamp=time.time(), label=label, error=error, recoverable=False)
            self.session.emit("error", ErrorEvent(error=fault, source=self.session.tts))

    def _provider_failed(self, event: ErrorEvent) -> None:
        if getattr(event.error, "type", "") == "stt_error":
            self._words_cut()

    def _recogniser_changed(self, event: stt.AvailabilityChangedEvent) -> None:
        """Keep words that were cut. One that is back cuts none: another one is hearing them."""
        if not event.available:
            self._words_cut()

    def _words_cut(self) -> None:
        """Keep what is known of words whose recogniser has gone; it will not finish them."""
        interim, self._interim = self._interim, None
        if interim is not None:
            self._record_segment(interim)
        if interim is not None or self.session.user_state == "speaking":
            self._scribe.recorder.miss("speech_cut_off")

    def _record_segment(self, event: stt.SpeechEvent) -> None:
        best = event.alternatives[0]
        scribe, recorder = self._scribe, self._scribe.recorder
        ended_at = scribe.clock.at(event.created_at)
        utterance = Utterance(
            item_id="",
            text=best.text,
            started_at=ended_at - _length(best),
            ended_at=ended_at,
            confidence=best.confidence,
        )
        scribe.write(lambda now: recorder.segment(now, utterance, recorder.client))

    def _note_generated(self, speech_id: str, delta: str) -> None:
        self._scribe.write(lambda now: self._scribe.recorder.generated(now, speech_id, delta))


async def _kept(text: AsyncIterable[str], said: list[str]) -> AsyncGenerator[str, None]:
    """Yield `text`, and put its pieces into `said`."""
    async for piece in text:
        said.append(piece)
        yield piece


def _length(speech: stt.SpeechData) -> timedelta:
    """Return how long a piece of speech was by the recogniser's count; nothing negative."""
    return timedelta(seconds=max(0.0, speech.end_time - speech.start_time))


class HeardText(io.TextOutput):
    """The end of the caption chain: takes the AI's words as their audio is played to the room."""

    def __init__(self, scribe: Scribe) -> None:
        super().__init__(label="Recorder", next_in_chain=None)
        self._scribe = scribe
        self._session: AgentSession[None] | None = None
        self._speech_id: str | None = None

    def follow(self, voice: AgentSession[None]) -> None:
        """Take the current speech of `voice` for the one that is heard."""
        self._session = voice

    async def capture_text(self, text: str) -> None:
        """Take a piece of text that has just been heard.

        It is of the speech that was on when the first piece came: the last ones come late, and may
        come when the next speech is on.
        """
        if self._speech_id is None and self._session is not None:
            speech = self._session.current_speech
            self._speech_id = speech.id if speech is not None else None
        if (speech_id := self._speech_id) is not None:
            recorder = self._scribe.recorder
            self._scribe.write(lambda now: recorder.heard(now, speech_id, text))

    def flush(self) -> None:
        """Take note that the text is complete, or was cut off: what comes next is another's."""
        self._speech_id = None
