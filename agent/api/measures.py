"""What the API tells Prometheus of itself: requests by route, and who follows.

Routes are named by their templates: no label holds anything of a person, a room or a session.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BOUNDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
UNKNOWN = "unknown"


class Measures:
    """The figures of one application."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "coach_api_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "coach_api_request_seconds",
            "From a request to the end of its answer, streams apart.",
            ["route"],
            buckets=BOUNDS,
            registry=self._registry,
        )
        self.watchers = Gauge(
            "coach_api_watchers", "Who follow a session now.", registry=self._registry
        )

    def answered(
        self, method: str, route: str | None, status: int | None, seconds: float | None
    ) -> None:
        """Count an answer; `seconds` is None for a stream, whose length says nothing."""
        known = route or UNKNOWN
        self._requests.labels(method if route else UNKNOWN, known, str(status or 0)).inc()
        if seconds is not None:
            self._seconds.labels(known).observe(seconds)

    def page(self) -> bytes:
        """Return the figures as Prometheus reads them."""
        return generate_latest(self._registry)
