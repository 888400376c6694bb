"""What a worker tells Prometheus: its debts to Postgres, its disk, its lease, and nobody's name."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import NOBODY
from shipping import T0, conversation, execute, started, turn, until

from agent.settings import Settings
from agent.worker import metrics
from agent.worker.background import running
from agent.worker.estate import Estate
from agent.worker.livekit_client import livekit_api
from agent.worker.lone_clients import LoneClients
from agent.worker.lost_agents import LostAgents
from agent.worker.metrics import Metrics
from persistence.journal import JournalWriter
from persistence.journal.census import census

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
ROOMY = 1024**3


@asynccontextmanager
async def worker(url: str, tmp_path: Path, *parts: str, port: int = 0) -> AsyncIterator[Served]:
    """A worker's metrics, and of the worker itself the `parts` alone."""
    settings = Settings(
        _env_file=None,
        database_url=url,
        livekit_url=NOBODY,
        livekit_api_key="key",
        livekit_api_secret="secret" * 8,
        journal_dir=tmp_path / "journals",
        journal_max_bytes=ROOMY,
    )
    async with Estate.claimed(settings) as estate, livekit_api(settings) as livekit:
        lone_clients = LoneClients(livekit, "coach", 1.0, LostAgents(dict))
        served = Metrics("127.0.0.1", port, estate, lone_clients)
        tasks = {name: task for name, task in estate.tasks().items() if name in parts}
        async with running({**tasks, "metrics": served.run}):
            yield Served(estate, lone_clients, served)


class Served:
    def __init__(self, estate: Estate, lone_clients: LoneClients, served: Metrics) -> None:
        self.estate = estate
        self.lone_clients = lone_clients
        self.metrics = served

    async def page(self) -> str:
        port = await asyncio.wait_for(self.metrics.port, 10)
        async with httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"http://127.0.0.1:{port}/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        return answer.text

    async def figures(self) -> dict[str, float]:
        """Return every sample of ours, as it is now, by its name and bound."""
        self.metrics._page_until = 0.0
        return {
            sample.name.removeprefix("coach_") + sample.labels.get("le", ""): sample.value
            for family in text_string_to_metric_families(await self.page())
            for sample in family.samples
            if sample.name.startswith("coach_")
        }


def journaling(served: Served, session_id: UUID) -> JournalWriter:
    return JournalWriter.create(served.estate.folder.path, session_id, max_bytes=ROOMY)


async def test_what_postgres_does_not_have_is_counted_until_it_has_it(
    database_url: str, tmp_path: Path
) -> None:
    session_id = uuid4()
    async with worker(database_url, tmp_path) as served:
        journal = journaling(served, session_id)
        journal.append(started())
        journal.append(turn(session_id, 1))
        assert await journal.durable(10)
        before = await served.figures()
        shipping = asyncio.create_task(served.estate.shipper.run())
        assert await served.estate.shipper.flushed(20) == 0
        after = await served.figures()
        for event in conversation(session_id)[1:]:
            journal.append(event)
        journal.close(10)
        assert await served.estate.shipper.flushed(20) == 0
        ended = await served.figures()
        served.estate.shipper.stop()
        await shipping
    assert (before["unshipped_events"], before["shipper_connected"]) == (2, 0)
    assert (before["sessions_running"], before["sessions_degraded"]) == (1, 0)
    assert before["journal_bytes"] > 0
    assert before["journal_limit_bytes"] == ROOMY
    assert before["journal_disk_free_bytes"] > 0
    assert (after["unshipped_events"], after["shipper_connected"]) == (0, 1)
    assert (before["events_shipped_total"], after["events_shipped_total"]) == (0, 2)
    assert after["ship_lag_seconds_count"] == after["ship_lag_seconds_bucket+Inf"] == 2
    assert after["ship_lag_seconds_bucket3600.0"] == 0, "what these events say is of long ago"
    assert after["ship_lag_seconds_sum"] > 2 * 3600
    assert (ended["sessions_running"], ended["journal_bytes"]) == (0, 0)


async def test_a_postgres_that_is_away_shows(tmp_path: Path) -> None:
    async with worker(NOWHERE, tmp_path, "shipper", "lease", "reclaim") as served:
        journal = journaling(served, uuid4())
        journal.append(started())
        assert await journal.durable(10)
        figures = await served.figures()
        journal.close(10)
    assert (figures["unshipped_events"], figures["shipper_connected"]) == (1, 0)
    assert figures["oldest_unshipped_seconds"] > 3600, "it says of itself that it is of long ago"
    assert not {"lease_age_seconds", "dead_letters"} & figures.keys(), "not known is not zero"


async def test_lease_dead_letters_and_reclaims_are_told(database_url: str, tmp_path: Path) -> None:
    letter = "INSERT INTO dead_letters (id, session_id, kind, payload, digest, sqlstate)"
    execute(database_url, f"{letter} VALUES (%s, %s, 'turn', '', '', '22000')", uuid4(), uuid4())
    lost = "INSERT INTO sessions (id, worker_id, started_at) VALUES (%s, %s, %s)"
    execute(database_url, lost, uuid4(), uuid4(), T0)
    async with worker(database_url, tmp_path, "lease", "reclaim") as served:
        await asyncio.wait_for(served.estate.lease.held.wait(), 20)
        await until(lambda: served.estate.dead_letters is not None)
        served.lone_clients.agents_called = 3
        figures = await served.figures()
    assert 0 <= figures["lease_age_seconds"] < 60
    assert (figures["dead_letters"], figures["sessions_reclaimed_total"]) == (1, 1)
    assert figures["agents_called_again_total"] == 3


async def test_a_dead_job_damage_and_what_the_disk_refuses_are_told(
    database_url: str, tmp_path: Path
) -> None:
    session_id = uuid4()
    async with worker(database_url, tmp_path) as served:
        alive = journaling(served, uuid4())
        alive.append(started())
        assert await alive.durable(10)
        [path] = served.estate.folder.journals()
        path.chmod(0o400)  # as its job leaves it while it holds what the disk refuses
        dead = journaling(served, session_id)
        dead.append(started())
        dead.append(turn(session_id, 1, confidence=7))
        dead.close(10)
        with dead_path(served, session_id).open("ab") as file:
            file.write(b"no event\n")
        shipping = asyncio.create_task(served.estate.shipper.run())
        # ended while it runs, as a job of this worker that died
        await until_async(served, "sessions_recovered_total", 1)
        assert await served.estate.shipper.flushed(20) == 0
        figures = await served.figures()
        served.estate.shipper.stop()
        await shipping
        alive.close(10)
    assert (figures["sessions_running"], figures["sessions_degraded"]) == (1, 1)
    assert figures["events_refused_total"] == 1


def dead_path(served: Served, session_id: UUID) -> Path:
    return served.estate.folder.path / f"{session_id}.journal"


async def until_async(served: Served, name: str, value: float) -> None:
    async with asyncio.timeout(20):
        while (await served.figures())[name] != value:  # noqa: ASYNC110 Postgres's doing
            await asyncio.sleep(0.02)


async def test_no_label_names_anybody_and_each_figure_is_explained(
    database_url: str, tmp_path: Path
) -> None:
    session_id = uuid4()
    async with worker(database_url, tmp_path, "shipper", "lease", "reclaim") as served:
        journal = journaling(served, session_id)
        for event in conversation(session_id):
            journal.append(event)
        journal.close(10)
        assert await served.estate.shipper.flushed(20) == 0
        await until(lambda: served.estate.dead_letters is not None)
        page = await served.page()
    for private in (
        str(session_id),
        "anna",
        "room",
        "Said as",
        str(served.estate.folder.worker_id),
    ):
        assert private not in page
    families = [f for f in text_string_to_metric_families(page) if f.name.startswith("coach_")]
    assert len(families) == 18
    assert all(family.documentation for family in families)
    labels = {label for f in families for sample in f.samples for label in sample.labels}
    assert labels == {"le"}


async def test_a_slow_disk_holds_up_neither_the_loop_nor_a_second_scrape(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, asked = threading.Event(), []

    def slow(folder: Path) -> Any:
        asked.append(folder)
        assert disk.wait(20)
        return census(folder)

    monkeypatch.setattr(metrics, "census", slow)
    async with worker(database_url, tmp_path) as served:
        scrapes = [asyncio.create_task(served.page()) for _ in range(3)]
        async with asyncio.timeout(20):
            while not asked:  # noqa: ASYNC110 the thread's doing
                await asyncio.sleep(0.005)
        assert not any(scrape.done() for scrape in scrapes), "and yet this loop goes on"
        disk.set()
        pages = await asyncio.gather(*scrapes)
    assert len(set(pages)) == len(asked) == 1


async def test_a_port_that_is_taken_is_said_and_tried_again(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "RETRY_SECONDS", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with worker(database_url, tmp_path, port=port) as served:
            await asyncio.sleep(0)
            tries: list[str] = []
            monkeypatch.setattr(metrics.log, "error", lambda event, **_: tries.append(event))
            async with asyncio.timeout(20):
                while not tries:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            assert not served.metrics.port.done()
            taken.close()
            assert await asyncio.wait_for(served.metrics.port, 10) == port
            assert "coach_unshipped_events" in await served.page()
    assert set(tries) == {"metrics_unavailable"}
