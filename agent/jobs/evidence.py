"""Whether a statement rests on what was said: pure, so that it can be trusted and tested.

A model may put any words into a speaker's mouth. A statement is kept only if its quote stands, word
for word, in the very turn that it names. What speech recognition and models write differently
(case, punctuation, kinds of apostrophe and of space) does not count; words do.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from persistence.analyses import TranscriptTurn

QUOTE_MIN_WORDS = 3
"""A shorter quote ("yes", "I am") stands in almost any turn and proves nothing, unless it is all
that the turn says."""

# Scripts that put no space between words: every character counts as a word of its own.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_APOSTROPHES = re.compile("['`\u00b4\u02bc\u2018\u2019]")


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    turn: int
    """The `seq` of the turn that it rests on."""
    quote: str


def supported(statements: Iterable[Statement], turns: Iterable[TranscriptTurn]) -> list[Statement]:
    """Return those of `statements` whose quote was said in the turn that they name, in order."""
    said: dict[int, list[str]] = {}
    for turn in turns:
        said.setdefault(turn.seq, []).append(turn.text)
    return [
        statement
        for statement in statements
        if any(was_said(statement.quote, text) for text in said.get(statement.turn, ()))
    ]


def was_said(quote: str, text: str) -> bool:
    """Return whether `quote` stands word for word in `text` and is long enough to prove it."""
    quoted, spoken = _words(quote), _words(text)
    if len(quoted) < QUOTE_MIN_WORDS:
        return bool(quoted) and quoted == spoken
    starts = range(len(spoken) - len(quoted) + 1)
    return any(spoken[start : start + len(quoted)] == quoted for start in starts)


def _words(text: str) -> list[str]:
    """Return the words of `text` without case, punctuation and apostrophes ("don't": "dont")."""
    folded = unicodedata.normalize("NFKC", _APOSTROPHES.sub("", text)).casefold()
    return _WORD.findall(folded)
