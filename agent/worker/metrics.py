"""What a worker tells Prometheus: `/metrics` on the worker's host, on a port of its own.

The framework's health server (`/` and `/worker`) is beside it, and lives only while jobs are taken;
this one answers until the last event is shipped, which is when it matters most. What LiveKit and
the interpreter count of themselves (`lk_agents_…`, `process_…`) is on the same page.

A scrape reads files and asks locks: that happens in a thread, and one look serves all who scrape
within a second. No label holds anything of a person, a room or a session.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from agent.worker.estate import Estate
from agent.worker.lone_clients import LoneClients
from persistence.journal.census import Census, census
from persistence.shipper_status import BOUNDS, Lags, ShipperStatus

log = structlog.get_logger("coach.metrics")

KEPT_SECONDS = 1.0
"""How long an answer serves others who ask."""
RETRY_SECONDS = 10.0


@dataclass(frozen=True)
class Observation:
    """What is to be said of a worker at one moment."""

    shipper: ShipperStatus
    journals: Census
    journal_limit_bytes: int
    lease_seconds: float | None
    """Since the lease was last renewed; None before the first time."""
    dead_letters: int | None
    """In the database; None while that is not known."""
    reclaimed: int
    agents_called: int


class Metrics:
    """Serves the figures of one worker."""

    def __init__(self, host: str, port: int, estate: Estate, lone_clients: LoneClients) -> None:
        self._host = host
        self._asked_port = port
        self._estate = estate
        self._lone_clients = lone_clients
        self._lock = asyncio.Lock()
        self._page = b""
        self._page_until = 0.0
        self.port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Where it listens, once it does."""

    async def run(self) -> None:
        """Serve until cancelled; a port that is taken is tried again: calls go on without."""
        while True:
            try:
                async with self._listening():
                    await asyncio.Event().wait()
            except OSError as error:
                log.error(  # noqa: TRY400 where it happened says nothing more
                    "metrics_unavailable", port=self._asked_port, error=error.errno
                )
            await asyncio.sleep(RETRY_SECONDS)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._asked_port).start()
            port = runner.addresses[0][1]
            log.info("metrics_listening", port=port)
            if not self.port.done():
                self.port.set_result(port)
            yield
        finally:
            await runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        async with self._lock:
            if self._page_until <= time.monotonic():
                observation = await observe(self._estate, self._lone_clients)
                self._page = await asyncio.to_thread(rendered, observation)
                self._page_until = time.monotonic() + KEPT_SECONDS
        return web.Response(body=self._page, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def observe(estate: Estate, lone_clients: LoneClients) -> Observation:
    """Look at a worker, without holding up the event loop. Raises OSError without its folder."""
    renewed_at = estate.lease.renewed_at
    return Observation(
        await estate.shipper.observed(),
        await asyncio.to_thread(census, estate.folder.path),
        estate.settings.journal_max_bytes,
        None if renewed_at is None else time.monotonic() - renewed_at,
        estate.dead_letters,
        estate.reclaimed,
        lone_clients.agents_called,
    )


def rendered(observation: Observation) -> bytes:
    """Return the page in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Families(observation))
    return generate_latest(registry) + generate_latest(REGISTRY)


class _Families(Collector):
    def __init__(self, observation: Observation) -> None:
        self._observation = observation

    def collect(self) -> Iterator[Metric]:
        observation = self._observation
        for name, help_text, value in _gauges(observation):
            if value is not None:
                yield GaugeMetricFamily(f"coach_{name}", help_text, value)
        for name, help_text, value in _counters(observation):
            yield CounterMetricFamily(f"coach_{name}", help_text, value)
        yield _histogram(observation.shipper.lags)


def _gauges(seen: Observation) -> list[tuple[str, str, float | None]]:
    ship, journals = seen.shipper, seen.journals
    return [
        ("unshipped_events", "Events on this worker's disk that are not in Postgres.",
            ship.unshipped),
        ("oldest_unshipped_seconds", "How long the oldest of them has waited.",
            ship.oldest_seconds),
        ("shipper_connected", "Whether the shipper has a connection to Postgres.",
            float(ship.connected)),
        ("lease_age_seconds", "Since this worker's lease was last renewed.", seen.lease_seconds),
        ("dead_letters", "Events in the database's dead letters, of all workers.",
            seen.dead_letters),
        ("journal_bytes", "Size of all journals in the journal directory.",
            journals.stored_bytes),
        ("journal_limit_bytes", "What they may take: COACH_JOURNAL_MAX_BYTES.",
            seen.journal_limit_bytes),
        ("journal_disk_free_bytes", "Free on the journal's file system.", journals.free_bytes),
        ("sessions_running", "Sessions whose job lives.", journals.running),
        ("sessions_degraded", "Sessions with events that the disk does not take.",
            journals.degraded),
    ]  # fmt: skip


def _counters(seen: Observation) -> list[tuple[str, str, float]]:
    ship = seen.shipper
    return [
        ("events_shipped", "Events that this worker brought from its journals to Postgres.",
            ship.lags.events),
        ("events_refused", "Events of these that Postgres refused: dead letters.",
            ship.dead_letters),
        ("events_dropped", "Events of these that a tombstone kept out.", ship.dropped),
        ("journal_damaged_bytes", "Bytes of journals that were no event.", ship.damaged_bytes),
        ("sessions_recovered", "Sessions whose job had died and whose end was journaled.",
            ship.recovered),
        ("sessions_reclaimed", "Sessions of lost workers that this one ended.", seen.reclaimed),
        ("agents_called_again", "Agents called for a client who waited alone.",
            seen.agents_called),
    ]  # fmt: skip


def _histogram(lags: Lags) -> Metric:
    buckets, below = [], 0
    for bound, events in zip((*map(str, BOUNDS), "+Inf"), lags.counts, strict=True):
        below += events
        buckets.append((bound, below))
    return HistogramMetricFamily(
        "coach_ship_lag_seconds",
        "From an event's happening to its being committed in Postgres.",
        buckets=buckets,
        sum_value=lags.seconds,
    )
