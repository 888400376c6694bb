"""Where searched words stand in a text, and the piece of it around the first of them.

Places are in UTF-16 code units, as browsers count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

PLACES_A_HIT = 100
BEFORE, LENGTH = 50, 180
"""Characters of an excerpt before the first word that was found, and in all."""
CUT = "…"

_SPACE = re.compile(r"\s+")

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of what was said; begins or ends with "…" where there is more of it."""

    text: str
    places: list[Place]


def places(text: str, words: Sequence[str]) -> list[Place]:
    """Return where one of `words` stands in `text` as a word, in any case: the first 100 places."""
    return _in_units(text, _spans(text, words))


def excerpt(text: str, words: Sequence[str]) -> Excerpt | None:
    """Return the piece of `text` around the first of `words` in it, None if there is none."""
    spans = list(_spans(text, words))
    if not spans:
        return None
    start, end = _window(text, *spans[0])
    before, after = CUT if start else "", CUT if end < len(text) else ""
    shown = f"{before}{text[start:end]}{after}"
    moved = len(before) - start
    inside = ((a + moved, b + moved) for a, b in spans if start <= a and b <= end)
    return Excerpt(shown, _in_units(shown, inside))


def _window(text: str, first: int, after: int) -> Place:
    """Return start and end of the excerpt around a word, between words where there are any."""
    start = max(0, first - BEFORE)
    end = min(len(text), max(after, start + LENGTH))
    if start and (space := _SPACE.search(text, start, first)):
        start = space.end()
    if end < len(text):
        last = max((space.start() for space in _SPACE.finditer(text, after, end)), default=end)
        end = last if last > after else end
    return start, end


def _spans(text: str, words: Sequence[str]) -> Iterator[Place]:
    longest_first = sorted(map(re.escape, words), key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)", re.IGNORECASE)
    return (match.span() for match in islice(pattern.finditer(text), PLACES_A_HIT))


def _in_units(text: str, spans: Iterable[Place]) -> list[Place]:
    """Return spans of characters as places in UTF-16 code units."""
    found: list[Place] = []
    counted = units = 0
    for first, after in spans:
        start = units + _utf16(text[counted:first])
        counted, units = after, start + _utf16(text[first:after])
        found.append((start, units))
    return found


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
