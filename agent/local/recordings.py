"""Makes the recordings that a session falls back to when nothing else can speak for it.

    uv run python -m agent.local.recordings

espeak-ng speaks the words of `prompts/spoken`, Opus makes a few kilobytes of each, and they are
kept with the worker: nothing is spoken by this machine while a session lasts. A recording carries
the version of its words, so that a test sees when they have changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np

import prompts
from agent.local import speech
from agent.worker import phrases

RATE = 24_000
BITS_PER_SECOND = 16_000
_WORDS_PER_MINUTE = 165
_SAMPLES = RATE // 50


def record(words: prompts.Prompt, target: Path) -> None:
    """Write `words`, spoken, to `target`."""
    pcm = speech.synthesize(
        words.text, sample_rate=RATE, voice="en-us", words_per_minute=_WORDS_PER_MINUTE
    )
    with av.open(str(target), "w", format="ogg") as container:
        container.metadata["version"] = words.version
        stream = container.add_stream("libopus", rate=RATE, layout="mono")
        stream.bit_rate = BITS_PER_SECOND
        for frame in _frames(pcm):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def version_of(recording: Path) -> str | None:
    """Return the version of the words that a recording says."""
    with av.open(str(recording)) as container:
        return {**container.metadata, **container.streams.audio[0].metadata}.get("version")


def _frames(pcm: bytes) -> Iterable[av.AudioFrame]:
    samples = np.frombuffer(pcm, dtype="<i2")
    for start in range(0, samples.size, _SAMPLES):
        piece = samples[start : start + _SAMPLES]
        piece = np.pad(piece, (0, _SAMPLES - piece.size))
        frame = av.AudioFrame.from_ndarray(piece[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, start
        yield frame


if __name__ == "__main__":
    for phrase in phrases.Phrase:
        record(prompts.spoken(phrase), Path(phrases.recording(phrase)))
