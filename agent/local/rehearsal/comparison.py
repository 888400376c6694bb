"""Captions beside turns: which belong together, and where they differ. Pure.

Only whitespace is normalised. One turn may be several captions (a recogniser's segments), in their
order. An interrupted turn of the AI may have been captioned in part: from its beginning. A caption
that was not final when the client left binds only as far as it goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

from agent.local.rehearsal.record import Line, Turn


@dataclass(frozen=True)
class Row:
    """What was captioned of one turn, beside it; either may be missing."""

    speaker: str
    lines: tuple[Line, ...]
    turn: Turn | None

    @property
    def captioned(self) -> str:
        return " ".join(" ".join(line.text.split()) for line in self.lines)

    @property
    def difference(self) -> str | None:
        """Say how the two differ, None if they agree."""
        finals = [line for line in self.lines if line.final]
        if self.turn is None:
            # speech that was never final need not be kept, what was heard of the AI must be
            unbound = self.speaker == "client" and not finals
            return None if unbound or not self.captioned else "captioned, and not in Postgres"
        captioned, stored = self.captioned.split(), self.turn.text.split()
        if captioned == stored:
            return None
        if not captioned:
            return "in Postgres, and never captioned"
        return None if _may_be_part(self, captioned, stored) else "not what was captioned"


def _may_be_part(row: Row, captioned: list[str], stored: list[str]) -> bool:
    if row.speaker == "ai":
        cut = (row.turn is not None and row.turn.interrupted) or not row.lines[-1].final
        return cut and stored[: len(captioned)] == captioned
    finals = [word for line in row.lines if line.final for word in line.text.split()]
    return not row.lines[-1].final and stored[: len(finals)] == finals


def rows(lines: Sequence[Line], turns: Sequence[Turn]) -> list[Row]:
    """Return captions beside turns, in the order of the turns.

    `lines` in the order of their first text, `turns` as a transcript is read. A caption without a
    turn stands where it was said.
    """
    of_turn: dict[int, list[Line]] = {index: [] for index in range(len(turns))}
    alone: list[Line] = []
    for role in ("client", "ai", "coach"):
        own = [line for line in lines if line.speaker == role and line.text.split()]
        places = [index for index, turn in enumerate(turns) if turn.role == role]
        for line, place in zip(own, _places(own, [turns[i] for i in places]), strict=True):
            if place is None:
                alone.append(line)
            else:
                of_turn[places[place]].append(line)
    made = [Row(turn.role, tuple(of_turn[index]), turn) for index, turn in enumerate(turns)]
    for line in sorted(alone, key=lambda line: line.at):
        made.insert(_place_of(line, made), Row(line.speaker, (line,), None))
    return made


def misplaced(found: Sequence[Row]) -> list[Row]:
    """Return rows that Postgres has before what was captioned first, though one had ended."""
    known = [row for row in found if row.turn is not None and row.lines]
    return [
        after
        for before, after in pairwise(known)
        if before.turn is not None
        and after.turn is not None
        and before.turn.ended_at <= after.turn.started_at
        and after.lines[0].at < before.lines[0].at
    ]


def _place_of(line: Line, made: Sequence[Row]) -> int:
    """Return where a caption without a turn goes: behind what was captioned before it."""
    before = [n for n, row in enumerate(made) if row.lines and row.lines[0].at <= line.at]
    return before[-1] + 1 if before else 0


def _places(lines: Sequence[Line], turns: Sequence[Turn]) -> list[int | None]:
    """Return for each caption of one speaker the turn that holds it: an index, or None."""
    places = _by_words(lines, turns)
    taken = {place for place in places if place is not None}
    for index, place in enumerate(places):
        if place is None:
            free = _free_between(places, index, len(turns), taken)
            places[index] = free
            taken |= {free} if free is not None else set()
    return places


def _by_words(lines: Sequence[Line], turns: Sequence[Turn]) -> list[int | None]:
    """Return for each caption the turn in which most of its words are found, in order."""
    said, line_of = _words([line.text for line in lines])
    stored, turn_of = _words([turn.text for turn in turns])
    votes: list[Counter[int]] = [Counter() for _ in lines]
    for a, b, size in SequenceMatcher(None, said, stored, autojunk=False).get_matching_blocks():
        for n in range(size):
            votes[line_of[a + n]][turn_of[b + n]] += 1
    return [
        vote.most_common(1)[0][0] if vote.total() * 2 >= len(line.text.split()) else None
        for vote, line in zip(votes, lines, strict=True)
    ]


def _words(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return all words, and which text each is of."""
    words = [(word, index) for index, text in enumerate(texts) for word in text.split()]
    return [word for word, _ in words], [index for _, index in words]


def _free_between(
    places: Sequence[int | None], index: int, count: int, taken: set[int]
) -> int | None:
    """Return a turn without captions between the neighbours' turns of the caption at `index`."""
    first = max((place for place in places[:index] if place is not None), default=-1) + 1
    end = min((place for place in places[index:] if place is not None), default=count)
    return next((turn for turn in range(first, end) if turn not in taken), None)
