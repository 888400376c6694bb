"""What is behind the wire protocols: a brain hears, answers and speaks.

Two of them: `scripted` (tests) and `offline` (`coach up` without keys). The protocols know only
this interface. Times are seconds from the first sample that an ear was given.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

SPEECH_RATE = 24_000
"""Hz of what a brain speaks: PCM16 mono, as OpenAI's `pcm` format and its Realtime API have it."""


@dataclass(frozen=True)
class Word:
    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Speaking:
    """Somebody began to speak."""

    start: float


@dataclass(frozen=True)
class Heard:
    """A piece of speech: as it seems so far, or (`final`) as it stays."""

    text: str
    confidence: float
    words: tuple[Word, ...]
    start: float
    end: float
    final: bool
    ids: tuple[int, ...] = ()
    """The utterances in it, where the tones tell."""


@dataclass(frozen=True)
class Message:
    """A message of a chat, as text."""

    role: str
    text: str


class Ear(Protocol):
    """Listens to one stream of speech."""

    async def hear(self, pcm: bytes) -> Sequence[Speaking | Heard]:
        """Return what `pcm` (PCM16 mono, any length) lets it understand."""

    async def finish(self, *, closing: bool) -> Sequence[Speaking | Heard]:
        """Return as final what is complete, and with `closing` what is not, too."""

    async def aclose(self) -> None:
        """Let go of what it holds."""


class Brain(Protocol):
    """Hears, answers and speaks."""

    name: str

    def listen(self, sample_rate: int) -> Ear:
        """Return an ear for PCM16 mono at `sample_rate` Hz; raises ValueError for a bad rate."""

    def answer(self, messages: Sequence[Message]) -> AsyncIterator[str]:
        """Yield the answer to a chat, in pieces of text."""

    def speak(self, text: str) -> AsyncIterator[bytes]:
        """Yield `text` as speech at `SPEECH_RATE`."""

    async def aclose(self) -> None:
        """Let go of what it holds."""


def spread(text: str, start: float, end: float) -> tuple[Word, ...]:
    """Return the words of `text`, spread over the time in which they were said."""
    words = text.split()
    step = (end - start) / max(1, len(words))
    return tuple(
        Word(word, round(start + n * step, 3), round(start + (n + 1) * step, 3))
        for n, word in enumerate(words)
    )
