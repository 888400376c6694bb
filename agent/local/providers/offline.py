"""The brain for `coach up` without keys: pocketsphinx hears, espeak-ng speaks, a script reflects.

All of it is local and rough. Each ear hears in a process of its own (`hearing`), started when a
stream opens, so that the model is there before the first word; what is said until then waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import av
import numpy as np

from agent.local import speech
from agent.local.providers import hearing
from agent.local.providers.brain import SPEECH_RATE, Heard, Message, Speaking, Word
from agent.local.providers.reflection import reflect

MAX_EARS = 8
"""Streams at once; each costs a process of about 110 MB."""
_CHUNK_BYTES = SPEECH_RATE * 2 // 10
"""100 ms of speech."""
_LINE_BYTES = 1024 * 1024
_SAMPLE_RATES = range(8_000, 48_001)


class EarLostError(Exception):
    """The process that hears has ended."""


class OfflineBrain:
    """Hears, answers and speaks on this machine alone."""

    name = "offline"

    def __init__(self, voice: str = "en") -> None:
        self._voice = voice
        self._ears: set[OfflineEar] = set()

    def listen(self, sample_rate: int) -> OfflineEar:
        """Return an ear; raises ValueError for a bad rate, and for one stream too many."""
        if sample_rate not in _SAMPLE_RATES:
            raise ValueError(f"{sample_rate} Hz is no rate of speech")
        if len(self._ears) >= MAX_EARS:
            raise ValueError(f"more than {MAX_EARS} streams at once")
        ear = OfflineEar(sample_rate, self._ears.discard)
        self._ears.add(ear)
        return ear

    async def answer(self, messages: Sequence[Message]) -> AsyncIterator[str]:
        for word in reflect(messages).split(" "):
            yield f"{word} "

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        pcm = await asyncio.to_thread(
            speech.synthesize, text, sample_rate=SPEECH_RATE, voice=self._voice
        )
        for start in range(0, len(pcm), _CHUNK_BYTES):
            yield pcm[start : start + _CHUNK_BYTES]

    async def aclose(self) -> None:
        await asyncio.gather(*(ear.aclose() for ear in list(self._ears)))


class OfflineEar:
    """Listens to one stream through a process of its own."""

    def __init__(self, sample_rate: int, closed: Callable[[OfflineEar], None]) -> None:
        self._closed = closed
        self._resampler: av.AudioResampler | None = None
        if sample_rate != hearing.RATE:
            self._resampler = av.AudioResampler("s16", "mono", hearing.RATE)
        self._rate = sample_rate
        self._odd = b""
        self._process = asyncio.create_task(_start())
        self._closing: asyncio.Task[None] | None = None

    async def hear(self, pcm: bytes) -> Sequence[Speaking | Heard]:
        data = self._odd + pcm
        self._odd = data[len(data) // 2 * 2 :]
        return await self._ask(b"A", self._resampled(data[: len(data) // 2 * 2]))

    async def finish(self, *, closing: bool) -> Sequence[Speaking | Heard]:  # noqa: ARG002 — both the same here
        return await self._ask(b"F", b"")

    async def aclose(self) -> None:
        """End the process; once begun this goes through, whatever becomes of the caller."""
        self._closing = self._closing or asyncio.create_task(self._end())
        await asyncio.shield(self._closing)

    async def _end(self) -> None:
        process = await self._process
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # it holds nothing worth an orderly end
        await process.wait()
        self._closed(self)

    async def _ask(self, kind: bytes, payload: bytes) -> list[Speaking | Heard]:
        process = await asyncio.shield(self._process)
        if process.stdin is None or process.stdout is None:
            raise EarLostError
        try:
            process.stdin.write(hearing.HEADER.pack(kind, len(payload)) + payload)
            await process.stdin.drain()
            line = await process.stdout.readline()
        except ConnectionError:
            raise EarLostError from None
        if not line:
            raise EarLostError
        return [_event(event) for event in json.loads(line)]

    def _resampled(self, pcm: bytes) -> bytes:
        if self._resampler is None or not pcm:
            return pcm
        samples = np.frombuffer(pcm, dtype="<i2")[None, :]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = self._rate
        frames = self._resampler.resample(frame)
        return b"".join(frame.to_ndarray().tobytes() for frame in frames)


async def _start() -> asyncio.subprocess.Process:
    """Start a process that hears; run by its path it loads nothing of the project."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        hearing.__file__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
    )


def _event(event: dict[str, Any]) -> Speaking | Heard:
    if "text" not in event:
        return Speaking(event["start"])
    words = tuple(Word(*word) for word in event["words"])
    return Heard(
        event["text"],
        event["confidence"],
        words,
        event["start"],
        event["end"],
        event["final"],
    )
