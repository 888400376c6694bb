"""What the scripted brain's people say: one sentence for an utterance's id, one reply for it.

Everything follows from the id, and the id can be read back from the text: `utterance(107)` is heard
when the tones say 107, the script answers it with `reply(107)`, and the speech of that answer
carries 107 in its tones again (`speech_codes`).

Ids by range:

| id | meaning |
|---|---|
| 0 | no utterance: the greeting, which is said when nobody has spoken yet |
| 1 to 899 | an utterance with a reply of one sentence (about 2 s of audio) |
| 900 to 999 | an utterance with a reply of over 10 s, in five sentences: for interruptions |
| 1000 to 15624 | as 1 to 899 |
"""

from __future__ import annotations

import re
import zlib

from agent.local.providers.tones import BASE, BLOCK_SECONDS, ID_MAX, Code, Kind, sentence_codes

GREETING_ID = 0
LONG_IDS = range(900, 1000)
LONG_SENTENCES = 5

UNHEARD = "I did not catch that."
"""The reply to what holds no utterance."""
GARBLED = "garbled"
"""Heard where tones were cut, overlapped or damaged."""
ECHO = "echo"
"""Heard where the client's audio holds the AI's own speech."""
BROKEN = "broken"
"""Follows an utterance of which not every block was heard, once and in order."""

CHARACTERS_PER_SECOND = 25
"""How fast replies are spoken; faster than people, so that tests are short."""

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGIT_WORDS = rf"((?:{'|'.join(_DIGITS)})(?: (?:{'|'.join(_DIGITS)}))*)\b"
_UTTERANCE = re.compile(rf"\bnumber {_DIGIT_WORDS}", re.IGNORECASE)
_REPLY = re.compile(rf"\banswer {_DIGIT_WORDS}(?:, part {_DIGIT_WORDS})?", re.IGNORECASE)

_UTTERANCES = (
    "I want to talk about number {}.",
    "This week I tried number {}.",
    "It was hard to sleep after number {}.",
    "My work is full of number {}.",
    "At home we had number {}.",
    "I feel better about number {}.",
    "Nobody asked me about number {}.",
    "I would like to change number {}.",
)
_REPLY_LINE = "Answer {}, what matters to you in it?"
_LONG_LINE = "Answer {}, part {}, and there is more to say on it."


def utterance(id_: int) -> str:
    """Return what a client says in the utterance `id_`."""
    return _UTTERANCES[id_ % len(_UTTERANCES)].format(_spelled(id_))


def confidence(id_: int) -> float:
    """Return how sure the recogniser is of the utterance `id_`: 0.90 to 0.99."""
    return round(0.9 + id_ % 10 / 100, 2)


def utterances_in(text: str) -> list[int]:
    """Return the ids of the utterances that `text` holds, in its order."""
    return [_number(words) for words in _UTTERANCE.findall(text)]


def reply(id_: int) -> str:
    """Return what the AI answers to the utterance `id_`."""
    if id_ not in LONG_IDS:
        return _REPLY_LINE.format(_spelled(id_))
    parts = range(1, LONG_SENTENCES + 1)
    return " ".join(_LONG_LINE.format(_spelled(id_), _DIGITS[part]) for part in parts)


def speech_codes(text: str) -> list[Code]:
    """Return the blocks that speak `text`: those of its replies, as many as the text is long.

    The sentence of a code is the part of its reply (0 for the only one, or the first). Text that is
    no reply is spoken as `Kind.OTHER`, with a hash of it for an id.
    """
    starts = list(_REPLY.finditer(text))
    codes = _other(text[: starts[0].start()] if starts else text)
    ends = [match.start() for match in starts[1:]] + [len(text)]
    for match, end in zip(starts, ends, strict=False):
        part = _number(match[2]) - 1 if match[2] else 0
        blocks = _blocks(text[match.start() : end])
        codes += sentence_codes(Kind.REPLY, _number(match[1]), min(blocks, BASE), part)
    return codes


def _other(text: str) -> list[Code]:
    if not text.strip():
        return []
    id_ = zlib.crc32(text.encode(errors="replace")) % (ID_MAX + 1)
    codes: list[Code] = []
    for sentence, first in enumerate(range(0, min(_blocks(text), BASE**2), BASE)):
        codes += sentence_codes(Kind.OTHER, id_, min(_blocks(text) - first, BASE), sentence)
    return codes


def _blocks(text: str) -> int:
    return max(1, round(len(text.strip()) / CHARACTERS_PER_SECOND / BLOCK_SECONDS))


def _spelled(number: int) -> str:
    return " ".join(_DIGITS[int(digit)] for digit in f"{number:03}")


def _number(words: str) -> int:
    return int("".join(str(_DIGITS.index(word)) for word in words.lower().split()))
