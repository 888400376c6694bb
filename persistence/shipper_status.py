"""How a shipper fares, in figures: for metrics, and for a worker that stops."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0)
"""Seconds; each bound belongs to the count below it."""


@dataclass
class Lags:
    """How long events took from happening to being committed."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """Of events, by `BOUNDS`; the last one of those beyond all of them."""
    seconds: float = 0.0
    """All of them together."""

    def note(self, happened: Iterable[float], now: float) -> None:
        """Count events that `happened` then and are committed `now` (seconds since the epoch).

        One that happened later than now, by a clock that was set back, took no time.
        """
        for at in happened:
            lag = max(0.0, now - at)
            self.counts[bisect_left(BOUNDS, lag)] += 1
            self.seconds += lag

    @property
    def events(self) -> int:
        return sum(self.counts)

    def copy(self) -> Lags:
        return Lags(list(self.counts), self.seconds)


@dataclass(frozen=True)
class ShipperStatus:
    connected: bool
    unshipped: int
    """Events on disk that are not in Postgres."""
    oldest_seconds: float
    """Since the oldest of them happened."""
    dead_letters: int
    """Events that Postgres refused since this shipper began."""
    dropped: int
    """Events that a tombstone kept out since this shipper began."""
    damaged_bytes: int
    last_error: str | None
    """Class and SQLSTATE of the last failure; null once it has worked again."""
    lags: Lags
    """How long the events took that it brought to Postgres: from happening to being committed."""
    recovered: int
    """Sessions whose job had died and whose end it journaled."""
