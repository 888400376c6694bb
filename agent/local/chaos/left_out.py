"""What of the plans cannot be brought about on this machine, why not, and how it could be.

A plan is the same everywhere: what cannot happen does not count as a fault, and more campaigns are
played until there were enough of the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from agent.local import wrong_clock
from agent.local.chaos import small_disk
from agent.local.chaos.plan import CLOCKS, WEIGHTS, Kind, Level
from agent.local.wrong_clock import WrongClockError


@dataclass(frozen=True)
class LeftOut:
    kinds: list[str]
    """Of faults."""
    why: str
    """And how to have them."""

    def __str__(self) -> str:
        return f"left out: {', '.join(self.kinds)}: {self.why}"


def left_out(levels: Collection[Level]) -> list[LeftOut]:
    """Return what campaigns of `levels` have to go without here."""
    planned = {kind for level in levels for kind in WEIGHTS[level]}
    return [
        LeftOut(sorted(kind.value for kind in kinds & planned), why)
        for kinds, why in _impossible()
        if kinds & planned
    ]


def _impossible() -> Iterator[tuple[frozenset[Kind], str]]:
    try:
        wrong_clock.library()
    except WrongClockError as error:
        yield CLOCKS, str(error)
    if not small_disk.possible():
        yield frozenset({Kind.DISK_FULL}), "a small disk is mounted by root alone, and on Linux"
