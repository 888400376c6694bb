"""A session's own clock: one wall-clock anchor, then the monotonic clock alone.

The wall clock of a machine may jump in the middle of a conversation; turns must not change places
because of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class SessionClock:
    anchor: datetime = field(default_factory=lambda: datetime.now(UTC))
    zero: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        """Return the session's time, aware, in UTC."""
        return self.anchor + timedelta(seconds=time.monotonic() - self.zero)

    def at(self, wall: float) -> datetime:
        """Return the session's time of `wall`, seconds since the epoch as the framework gives them.

        The age of `wall` is what counts, so that a jump of the wall clock since the session's
        start does no harm.
        """
        return self.now() - timedelta(seconds=max(0.0, time.time() - wall))
