"""What is said in a session without audio: pure; every piece can be told from every other."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    """Who speaks, and how it gets to the recorder."""

    CLIENT = "client"
    TYPED = "typed"
    AI = "ai"
    MARKER = "marker"
    """Nobody: something happens that is recorded."""


class Fate(StrEnum):
    """What the framework makes of speech."""

    TURN = "turn"
    INTERRUPTED = "interrupted"
    """An AI's reply that is cut short: an item of what was heard."""
    DROPPED = "dropped"
    """No item: spoken over, a failed hook, a closed session."""


@dataclass(frozen=True)
class Line:
    """One utterance, reply or happening of a session."""

    way: Way
    number: int
    at: float
    """Seconds from the session's beginning."""
    pieces: tuple[str, ...]
    """Segments of a client's speech, or words of a reply as they are heard."""
    gap: float
    """Seconds from one piece to the next."""
    fate: Fate = Fate.TURN

    @property
    def seconds(self) -> float:
        return len(self.pieces) * self.gap


_WORDS = (
    "sleep", "work", "morning", "tired", "energy", "breath", "nothing", "again", "yesterday",
    "it's", "naïve", "Übung", "睡眠", "🙂", 'he said "no"', "50 % off", "\\", "a\tb", "ــ",
)  # fmt: skip
_PAUSE = (0.02, 0.15)
"""Seconds between two lines."""
_INTO_THE_AI = 0.2
"""How likely somebody speaks before the AI is done."""
_WAYS = {Way.CLIENT: 10, Way.AI: 8, Way.TYPED: 1, Way.MARKER: 1}


def conversation(dice: random.Random, talk: int, count: int) -> tuple[Line, ...]:
    """Return the `count` lines of session `talk`: most in turn, some while the AI still speaks."""
    lines: list[Line] = []
    at = ai_done = _PAUSE[0]
    for number in range(count):
        way = dice.choices(list(_WAYS), list(_WAYS.values()))[0]
        if not number:
            way = Way.CLIENT  # who says nothing has nothing summarised
        line = _line(dice, way, talk, number, max(at, ai_done) if way is Way.AI else at)
        spoken = line.at + line.seconds
        at = line.at + line.seconds * (0.5 if dice.random() < _INTO_THE_AI else 1.0)
        if way is Way.AI:
            ai_done = spoken + _PAUSE[0]
        else:
            at = spoken
        at = round(at + dice.uniform(*_PAUSE), 3)
        lines.append(line)
    return tuple(lines)


def _line(dice: random.Random, way: Way, talk: int, number: int, at: float) -> Line:
    if way is Way.MARKER:
        return Line(way, number, at, (), 0.0)
    if way is Way.TYPED:
        return Line(way, number, at, (_piece(dice, talk, number, 0),), 0.0)
    if way is Way.CLIENT:
        count = dice.choices((1, 2, 3), (6, 3, 1))[0]
        fate = dice.choices((Fate.TURN, Fate.DROPPED), (8, 2))[0]
    else:
        count = dice.randint(3, 10)
        fate = dice.choices(list(Fate), (7, 3, 1))[0]
    pieces = tuple(_piece(dice, talk, number, n) for n in range(count))
    return Line(way, number, at, pieces, round(dice.uniform(0.02, 0.12), 3), fate)


def _piece(dice: random.Random, talk: int, line: int, number: int) -> str:
    """Return words that are said only here."""
    return " ".join([f"t{talk}l{line}p{number}", *dice.choices(_WORDS, k=dice.randint(0, 4))])
