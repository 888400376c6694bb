"""What the AI says beside the conversation: on a track of its own, captioned and recorded.

A filler has to be heard while an answer is under way, an apology when there is none, a farewell
after the voice has closed. So none of them goes through LiveKit's `AgentSession`, which says one
thing after the other and only while it lives; and none of them gets into the model's context, where
it would be taken for something that the model has said. They are turns of the AI all the same: what
was heard of them, word by word, and interrupted if they were.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from itertools import accumulate

import structlog
import uuid_utils.compat as uuids
from livekit import rtc
from livekit.agents.types import (
    ATTRIBUTE_TRANSCRIPTION_FINAL,
    ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID,
    ATTRIBUTE_TRANSCRIPTION_TRACK_ID,
    TOPIC_TRANSCRIPTION,
)

from agent.worker.phrases import RATE, Phrase, Phrases
from agent.worker.replies import Reply
from agent.worker.scribe import Scribe

log = structlog.get_logger("coach.voice")

SUBSCRIBED_SECONDS = 1.0
"""How long the client is given to listen to the track, once it is there."""

PHRASE_SECONDS = 15.0
"""How long a phrase may take: the voice of the conversation waits for its end."""

FAREWELL_VOICE_SECONDS = 1.5
"""How long a farewell in the coach's own voice is waited for."""

FAREWELL_SECONDS = 20.0
"""How long a farewell may take; the session ends without it after that."""

QUEUE_MS = 200
"""How much audio is handed out in advance; what was cut off can be off by a part of it."""


class Aside:
    """One session's; says one phrase at a time."""

    def __init__(self, room: rtc.Room, phrases: Phrases, scribe: Scribe) -> None:
        self._room = room
        self._phrases = phrases
        self._scribe = scribe
        self._source: rtc.AudioSource | None = None
        self._published: asyncio.Task[str] | None = None
        self._floor = asyncio.Lock()
        self._cut = asyncio.Event()
        self._to_the_end = False

    @property
    def speaking(self) -> bool:
        """Whether a phrase is being said, or about to be."""
        return self._floor.locked()

    async def over(self) -> None:
        """Wait until no phrase is being said."""
        async with self._floor:
            return

    def prepare(self, *phrases: Phrase) -> None:
        """Have everything there that it takes to say one of `phrases` at once."""
        for phrase in phrases:
            self._phrases.prepare(phrase)
        self._publish()

    def stop(self) -> None:
        """Stop saying what is being said, unless that is to be heard to its end."""
        if not self._to_the_end:
            self._cut.set()

    async def say(self, phrase: Phrase, *, within: float, to_the_end: bool = False) -> None:
        """Say `phrase`; in the coach's own voice if it is there in `within` seconds.

        A room that is gone, or any other failure, is logged: there is nobody left to tell.
        """
        async with self._floor:
            self._to_the_end = to_the_end
            self._cut.clear()
            try:
                async with asyncio.timeout(PHRASE_SECONDS):
                    frames, track = await asyncio.gather(
                        self._phrases.frames(phrase, within), asyncio.shield(self._publish())
                    )
                    await self._play(phrase, frames, track)
            except Exception as error:  # noqa: BLE001 whatever LiveKit or a decoder may raise
                log.warning("aside_failed", phrase=phrase, error=type(error).__name__)

    async def farewell(self) -> None:
        """Say goodbye for something that is broken, to its end."""
        recorder = self._scribe.recorder
        self._scribe.write(lambda now: recorder.marker(now, Phrase.FAREWELL))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self.say(Phrase.FAREWELL, within=FAREWELL_VOICE_SECONDS, to_the_end=True)

    async def aclose(self) -> None:
        """Let go of voice and track; the room keeps neither."""
        self._cut.set()
        await self._phrases.aclose()
        if self._published is not None:
            self._published.cancel()
            await asyncio.gather(self._published, return_exceptions=True)
        if self._source is not None:
            await self._source.aclose()

    def _publish(self) -> asyncio.Task[str]:
        task = self._published
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            self._published = task = asyncio.create_task(self._make_track(), name="aside_track")
            task.add_done_callback(_take_note)
        return task

    async def _make_track(self) -> str:
        """Publish the track and return its sid once somebody listens, or after a while."""
        self._source = self._source or rtc.AudioSource(RATE, 1, queue_size_ms=QUEUE_MS)
        track = rtc.LocalAudioTrack.create_audio_track("aside", self._source)
        # not a second microphone: captions and clients look for the one there is
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_UNKNOWN)
        publication = await self._room.local_participant.publish_track(track, options)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SUBSCRIBED_SECONDS):
                await publication.wait_for_subscription()
        return publication.sid

    async def _play(self, phrase: Phrase, frames: list[rtc.AudioFrame], track: str) -> None:
        reply = Reply(f"aside:{uuids.uuid7()}")
        reply.generate(phrase.text)
        words = _timed(phrase.text, sum(frame.duration for frame in frames))
        async with self._caption(reply.reply_id, track) as caption:
            try:
                async for played in self._played(frames):
                    while words and words[0][0] <= played:
                        await self._heard(reply, words.pop(0)[1], caption)
            finally:
                self._over(cut=bool(words))

    async def _played(self, frames: list[rtc.AudioFrame]) -> AsyncIterator[float]:
        """Play `frames` until they end or are cut; yield how many seconds have been played."""
        source = self._source
        if source is None:
            return
        pushed = 0.0
        for frame in frames:
            if self._cut.is_set():
                break
            await source.capture_frame(frame)
            pushed += frame.duration
            yield pushed - source.queued_duration
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(source.queued_duration):
                await self._cut.wait()
        if self._cut.is_set():
            yield pushed - source.queued_duration
            source.clear_queue()
        else:
            yield pushed

    async def _heard(self, reply: Reply, word: str, caption: rtc.TextStreamWriter) -> None:
        recorder = self._scribe.recorder
        self._scribe.write(lambda now: recorder.aside(now, reply, word))
        await caption.write(word)

    def _over(self, *, cut: bool) -> None:
        recorder = self._scribe.recorder
        self._scribe.write(lambda now: recorder.aside_over(now, interrupted=cut))

    @contextlib.asynccontextmanager
    async def _caption(self, segment_id: str, track: str) -> AsyncIterator[rtc.TextStreamWriter]:
        """Open a caption as LiveKit's own are; it is final when the block ends."""
        attributes = {
            ATTRIBUTE_TRANSCRIPTION_FINAL: "false",
            ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID: segment_id,
            ATTRIBUTE_TRANSCRIPTION_TRACK_ID: track,
        }
        writer = await self._room.local_participant.stream_text(
            topic=TOPIC_TRANSCRIPTION, attributes=attributes
        )
        try:
            yield writer
        finally:
            await writer.aclose(attributes={ATTRIBUTE_TRANSCRIPTION_FINAL: "true"})


def _take_note(task: asyncio.Task[str]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("aside_track_failed", error=type(error).__name__)


def _timed(text: str, seconds: float) -> list[tuple[float, str]]:
    """Return the words of `text`, each with when it has been said if all takes `seconds`."""
    words = list(_words(text))
    ends = accumulate(len(word) for word in words)
    # a recording ends in a moment of silence, and the last word must not hang on its last frame
    return [(seconds * 0.95 * end / len(text), word) for end, word in zip(ends, words, strict=True)]


def _words(text: str) -> Iterator[str]:
    """Yield the words of `text`, each with the blank before it."""
    for number, word in enumerate(text.split()):
        yield f" {word}" if number else word
