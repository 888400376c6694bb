"""The offline brain's coaching: it reflects what it heard, and asks an open question.

There is no language model behind it, and it says so in its greeting. It claims nothing, advises
nothing and knows nothing: whatever it states are the client's own words. Where the words tell of
distress it says something kind and points to people.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.local.providers.brain import Message

GREETING = (
    "Hello. I am a simple offline coach, without a language model: I listen, I may mishear,"
    " and I ask. What would you like to talk about?"
)
UNHEARD = "I did not catch that. Could you say it once more?"
CRISIS = (
    "That sounds very hard, and I am glad that you said it. I am only a simple program. Please talk"
    " to a person you trust right now, and if you are in danger, call your local emergency number."
)
DISTRESS = (
    "That sounds heavy. You do not have to carry it alone: your coach, or someone close to you, may"
    " be a good person to tell. What would feel like a little support right now?"
)
QUESTIONS = (
    "What about that matters most to you?",
    "What would you like to be different?",
    "What have you noticed about it?",
    "What would be one small step?",
    "How would you know that it is getting better?",
    "What helped before, even a little?",
)
REFLECTED_WORDS = 12

_CRISIS = re.compile(
    r"\b(suicid\w*|kill(ing)? my ?self|hurt(ing)? my ?self|harm(ing)? my ?self|end(ing)? (it all|my"
    r" life)|want(ed)? to die|wish i (was|were) dead|self harm)\b",
    re.IGNORECASE,
)
_DISTRESS = re.compile(
    r"\b(hopeless|worthless|desperate|despair|panic\w*|overwhelmed|depress\w*|so alone|lonely|"
    r"terrified|crying|give up|can't go on|cannot go on|grie(f|ving)|abuse\w*)\b",
    re.IGNORECASE,
)
_SWAPS = {
    "i": "you",
    "i'm": "you are",
    "i've": "you have",
    "i'll": "you will",
    "i'd": "you would",
    "me": "you",
    "my": "your",
    "mine": "yours",
    "myself": "yourself",
    "am": "are",
    "we": "you",
    "our": "your",
    "us": "you",
}


def reflect(messages: Sequence[Message]) -> str:
    """Return what to say next in the conversation `messages`."""
    said = [message.text.strip() for message in messages if message.role == "user"]
    if not said:
        return GREETING
    if not re.search(r"\w", said[-1]):
        return UNHEARD
    if _CRISIS.search(said[-1]):
        return CRISIS
    if _DISTRESS.search(said[-1]):
        return DISTRESS
    question = QUESTIONS[(len(said) - 1) % len(QUESTIONS)]
    return f"I heard: {mirrored(said[-1])}. {question}"


def mirrored(text: str) -> str:
    """Return the last words of `text` as they are said to the one who said them."""
    words = re.sub(r"[^\w' -]", " ", text.replace("\u2019", "'")).split()[-REFLECTED_WORDS:]
    mirror = (_SWAPS.get(word.lower(), word) for word in words)
    swapped = " ".join(mirror)
    # "was" goes with "I" and with others: only the pair is turned.
    return re.sub(r"\byou was\b", "you were", swapped)
