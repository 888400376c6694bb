"""A session's own clock: one wall-clock anchor, then the monotonic clock alone.

The wall clock of a machine may jump in the middle of a conversation; turns must not change places
because of it, and nobody may wait for an answer until a clock that was set back has caught up.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_wall = time.time
_held: list[float] = []
"""How far the wall clock was ahead of the monotonic one, once it is held."""


def _time() -> float:
    return _held[-1] + time.monotonic() if _held else _wall()


def can_be_held() -> None:
    """Put what can be held steady in the place of `time.time`, before a framework is imported.

    The framework keeps the function that it finds, to date its messages by, which it sorts: after
    a jump of the clock the language model would answer the last but one.
    """
    time.time = _time


def hold_steady() -> None:
    """Let `time.time` of this process go on from now by the monotonic clock alone.

    The framework reckons with it how long ago somebody stopped speaking, and how long to wait for
    more: set back by an hour in that moment, it would answer an hour later.
    """
    can_be_held()
    _held.append(_wall() - time.monotonic())


@dataclass(frozen=True)
class SessionClock:
    # not `datetime.now`, which `hold_steady` does not reach: the journal goes by `time.time`
    anchor: datetime = field(default_factory=lambda: datetime.fromtimestamp(time.time(), UTC))
    zero: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        """Return the session's time, aware, in UTC."""
        return self.anchor + timedelta(seconds=time.monotonic() - self.zero)

    def at(self, wall: float) -> datetime:
        """Return the session's time of `wall`, seconds since the epoch as the framework gives them.

        The age of `wall` is what counts, whatever the anchor of the clock that gave it.
        """
        return self.now() - timedelta(seconds=max(0.0, time.time() - wall))
