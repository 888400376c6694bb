"""Which segments a turn is made of, by their words, and when it was spoken, by theirs: pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from persistence.events import Segment

Run = tuple[int, int]

BEFORE = timedelta(seconds=10)
"""By how much a turn's first words may have begun before the framework saw speech."""

LONGEST_ONSET = timedelta(seconds=3)
"""From the first sound of speech until the first word in it, by the recogniser's late count."""


def run_of(text: str, pending: list[Segment], started_at: datetime | None = None) -> Run:
    """Return the slice of `pending` that makes up `text`; an empty one after old ones if none does.

    Of several with the same words it is the one that began nearest to `started_at`, where that is
    known, else the earliest: what an earlier turn takes from a later one of the same words, that
    one finds missing, and it would be told once more. Words that only begin `text` are its own if
    they came with it: of old ones, said alike, nothing else would be left.
    """
    wanted = text.split()
    words = [segment.text.split() for segment in pending]
    fresh = _fresh(pending, started_at)
    runs = list(_runs_of(wanted, words)) or _prefixes_of(wanted, words, fresh)
    if started_at is None:
        return min(runs, key=lambda run: run[1], default=(fresh, fresh))
    away = {run: abs(pending[run[0]].started_at - started_at) for run in runs}
    return min(runs, key=lambda run: (away[run], run[1]), default=(fresh, fresh))


def _runs_of(wanted: list[str], words: list[list[str]]) -> Iterator[Run]:
    for first in range(len(words)):
        joined: list[str] = []
        for after in range(first + 1, len(words) + 1):
            joined += words[after - 1]
            if joined == wanted:
                yield first, after
            if len(joined) >= len(wanted):
                break


def _fresh(pending: list[Segment], started_at: datetime | None) -> int:
    """Return which of `pending` is the first that may have come with a turn of `started_at`."""
    if started_at is None:
        return 0
    earliest = started_at - BEFORE
    return next((n for n, s in enumerate(pending) if s.started_at >= earliest), len(pending))


def _prefixes_of(wanted: list[str], words: list[list[str]], begin: int) -> list[Run]:
    """Return the longest slices from `begin` on whose words begin `wanted`."""
    found: list[Run] = []
    for first in range(begin, len(words)):
        joined: list[str] = []
        for after in range(first + 1, len(words) + 1):
            joined += words[after - 1]
            if joined != wanted[: len(joined)]:
                break
            found.append((first, after))
    longest = max((after - first for first, after in found), default=0)
    return [(first, after) for first, after in found if after - first == longest]


def start_of_speech(seen: datetime | None, words: list[Segment]) -> datetime | None:
    """Return when a turn began: when speech was `seen`, unless its `words` came much later.

    Where the recogniser lost words, the framework counts the next ones from the lost ones' start.
    One that gives no times says nothing of when its words came.
    """
    first = _first_start([word for word in words if word.started_at < word.ended_at])
    if seen is None or first is None:
        return seen or _first_start(words)
    return seen if first - seen <= LONGEST_ONSET else first


def _first_start(words: list[Segment]) -> datetime | None:
    return min((word.started_at for word in words), default=None)


def end_of_speech(words: list[Segment]) -> datetime | None:
    """Return when the last of a turn's `words` ended; None without any."""
    return max((word.ended_at for word in words), default=None)
