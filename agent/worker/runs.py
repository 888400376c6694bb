"""Which segments a turn is made of: pure, by their words."""

from __future__ import annotations

from persistence.events import Segment


def run_of(text: str, pending: list[Segment]) -> tuple[int, int]:
    """Return the slice of `pending` that makes up `text`; an empty one at 0 if none does."""
    wanted = text.split()
    words = [segment.text.split() for segment in pending]
    for after in range(len(pending), 0, -1):
        tail: list[str] = []
        for first in range(after - 1, -1, -1):
            tail = words[first] + tail
            if tail == wanted:
                return first, after
            if len(tail) > len(wanted):
                break
    return _prefix_of(wanted, words)


def _prefix_of(wanted: list[str], words: list[list[str]]) -> tuple[int, int]:
    """Return the longest slice whose words begin `wanted`, the latest of equals."""
    best = (0, 0)
    for first in range(len(words)):
        joined: list[str] = []
        for after in range(first + 1, len(words) + 1):
            joined += words[after - 1]
            if joined != wanted[: len(joined)]:
                break
            if after - first >= best[1] - best[0]:
                best = (first, after)
    return best
