"""The wall clock of the machine on which a campaign's sessions are held, and what it showed when.

A session's times are those of that clock as it was at the session's beginning, however it jumps
later: so what it showed then is a part of the truth, and known by who let it jump.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from agent.local.wrong_clock import WrongClock

_SLACK = 0.5
"""Seconds by which a stored time may differ from what the clock showed then."""


class _Shown(NamedTuple):
    since: float
    """`time.monotonic()` from which on it may have been off by that."""
    surely: float
    """And from which on nothing else was shown any more."""
    off: float


@dataclass
class Clock:
    wrong: WrongClock | None = None
    """None where no clock can be made wrong: it is right then."""
    _shown: list[_Shown] = field(default_factory=lambda: [_Shown(-math.inf, -math.inf, 0.0)])

    @classmethod
    def made(cls, library: Path | None, file: Path) -> Clock:
        """Return one that `library` can make wrong, by `file`; without it, one that cannot be."""
        return cls(WrongClock.made(library, file) if library else None)

    @property
    def file(self) -> Path | None:
        """What tells a process by how much its clock is off."""
        return self.wrong.file if self.wrong else None

    def jump(self, off: float) -> bool:
        """Be `off` seconds ahead of the right time from now on, or behind; return whether it is."""
        if self.wrong is None:
            return False
        since = time.monotonic()
        self.wrong.jump(off)
        self._shown.append(_Shown(since, time.monotonic(), off))
        return True

    def showed(self, since: float, until: float) -> list[float]:
        """Return by how much it was off from `since` to `until`, by `time.monotonic()`."""
        return [shown.off for shown, end in self._until() if shown.since <= until and since <= end]

    def off_at(self, shown: float, since: float) -> float | None:
        """Return by how much it was off when it showed `shown` (seconds since 1970).

        None if it did not do so from `since` (`time.monotonic()`) until now.
        """
        now, right = time.monotonic(), time.time() - time.monotonic()
        for moment, end in self._until():
            at = shown - right - moment.off
            first, last = max(moment.since, since), min(end, now)
            if first - _SLACK <= at <= last + _SLACK:
                return moment.off
        return None

    def _until(self) -> Iterator[tuple[_Shown, float]]:
        """Yield all that it showed, and up to when."""
        ends = [*(after.surely for after in self._shown[1:]), math.inf]
        yield from zip(self._shown, ends, strict=True)
