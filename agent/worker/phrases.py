"""What the AI says where no model gives it words: the words, and how they sound.

Whenever one of these is needed something is slow or broken, perhaps the voice itself. So each is
spoken in the coach's own voice where that can be had in time, else from a recording that comes
with the package (`agent/local/recordings.py` made it).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from enum import StrEnum
from importlib import resources
from typing import Any

import structlog
from livekit import rtc
from livekit.agents import APIConnectOptions, tts
from livekit.agents.utils.audio import audio_frames_from_file

import prompts

log = structlog.get_logger("coach.voice")

RATE = 24_000
"""Hz, mono: what OpenAI's and Deepgram's voices and the recordings have."""

OWN_VOICE_SECONDS = 1.5
"""How long the coach's own voice is waited for."""


class Phrase(StrEnum):
    """A file of `prompts/spoken`, and one of `recordings`."""

    FILLER = "filler"
    APOLOGY = "apology"
    WELCOME = "welcome"
    FAREWELL = "farewell"

    @property
    def text(self) -> str:
        return prompts.spoken(self).text


def recording(phrase: str) -> str:
    """Return the path of a phrase's recording."""
    return str(resources.files(__package__).joinpath("recordings", f"{phrase}.ogg"))


class Phrases:
    """The phrases of one session, each spoken once and kept.

    `make_voice` makes a voice that the conversation does not use: a fault of this one is none of
    the conversation's. It is made when it is needed first.
    """

    def __init__(self, make_voice: Callable[[], tts.TTS[Any]]) -> None:
        self._make_voice = make_voice
        self._voice: tts.TTS[Any] | None = None
        self._spoken: dict[Phrase, asyncio.Task[list[rtc.AudioFrame]]] = {}

    def prepare(self, phrase: Phrase) -> None:
        """Begin to have `phrase` spoken in the coach's own voice, unless that was begun."""
        task = self._spoken.get(phrase)
        if task is None or (task.done() and not _given(task)):
            self._spoken[phrase] = asyncio.create_task(self._own(phrase), name="phrase")

    async def frames(self, phrase: Phrase, within: float) -> list[rtc.AudioFrame]:
        """Return `phrase` as audio at `RATE`: the own voice if it has it within so many seconds."""
        self.prepare(phrase)
        task = self._spoken[phrase]
        await asyncio.wait([task], timeout=within)
        if task.done() and (frames := _given(task)):
            return frames
        stream = audio_frames_from_file(recording(phrase), sample_rate=RATE, num_channels=1)
        return [frame async for frame in stream]

    async def aclose(self) -> None:
        """Let go of the voice."""
        for task in self._spoken.values():
            task.cancel()
        await asyncio.gather(*self._spoken.values(), return_exceptions=True)
        if self._voice is not None:
            await self._voice.aclose()

    async def _own(self, phrase: Phrase) -> list[rtc.AudioFrame]:
        """Return nothing where the voice fails: this is what the recordings are for."""
        patience = APIConnectOptions(max_retry=0, timeout=OWN_VOICE_SECONDS)
        try:
            self._voice = self._voice or self._make_voice()
            async with contextlib.aclosing(
                self._voice.synthesize(phrase.text, conn_options=patience)
            ) as stream:
                return [event.frame async for event in stream]
        except Exception as error:  # noqa: BLE001 whatever a provider may raise
            log.warning("phrase_unspoken", phrase=phrase, error=type(error).__name__)
            return []


def _given(task: asyncio.Task[list[rtc.AudioFrame]]) -> list[rtc.AudioFrame]:
    return [] if task.cancelled() or task.exception() else task.result()
