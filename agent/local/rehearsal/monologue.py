"""What the client of a rehearsal says: plain sentences of a coaching conversation, fixed.

Each is one sentence without an inner pause (a voice detector takes a pause for an end), in words
that the offline recogniser knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from agent.local import speech
from agent.local.client import SAMPLE_RATE

UTTERANCES = 4
"""How many sentences a rehearsal without a set length has."""
VOICE = "en-us"
WORDS_PER_MINUTE = 160
_FAINT = 100
"""Samples of 16 bit up to this are silence."""

SENTENCES = (
    "I would like to talk about my work this week.",
    "Every morning I feel tired before the day begins.",
    "I think I say yes to too many people.",
    "I want to have more time for my family.",
    "Last night I went to bed at ten and slept well.",
    "My boss asked me to take on another project.",
    "It would help me to plan the day the evening before.",
    "I am proud that I went for a walk at lunch.",
    "On Friday I will tell them that I need a break.",
    "When I work late I forget to eat.",
    "My friend told me that I look happier now.",
    "I could start with ten minutes of quiet time.",
    "What worries me most is the meeting on Monday.",
    "I notice that music helps me to calm down.",
    "I will write down three good things every night.",
    "That is my plan for the next seven days.",
)


def sentences(session: int) -> Sequence[str]:
    """Return all sentences in the order in which session number `session` (from 0) says them.

    Each session begins elsewhere, so that words that reach the wrong room show.
    """
    first = session * UTTERANCES % len(SENTENCES)
    return SENTENCES[first:] + SENTENCES[:first]


async def spoken(text: str) -> bytes:
    """Return `text` spoken: PCM16 mono at the room client's rate, to its last audible sample."""
    pcm = await asyncio.to_thread(
        speech.synthesize,
        text,
        sample_rate=SAMPLE_RATE,
        voice=VOICE,
        words_per_minute=WORDS_PER_MINUTE,
    )
    audible = np.flatnonzero(np.abs(np.frombuffer(pcm, dtype=np.int16).astype(np.int32)) > _FAINT)
    return pcm[: (int(audible[-1]) + 1) * 2] if audible.size else b""
