"""A worker that is told to stop: its sessions go on to their end, and what was said is stored."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from deployment import Deployment, Row, converse, eventually, greeted, say
from shipping import ended, started

from agent.local.processes import Child
from agent.local.providers import lines
from agent.worker.server import UNSHIPPED
from persistence.journal import JournalWriter


@pytest.fixture(autouse=True)
def no_worker_left(deployment: Deployment) -> Iterator[None]:
    yield
    for worker in list(deployment.workers):
        deployment.stop_worker(worker)


async def exit_code(worker: Child, within: float = 30) -> int:
    return await asyncio.to_thread(worker.process.wait, within)


async def stopping(worker: Child, times: int = 1) -> None:
    """Wait until `worker` has heard so many signals."""

    async def heard() -> bool:
        return sum("stop_asked" in line for line in worker.output()) >= times

    await eventually(heard)


async def spoken(deployment: Deployment, room: str) -> list[str]:
    return [turn["text"] for turn in await deployment.turns(room) if turn["role"] == "client"]


def outcome(session: Row) -> tuple[str, str, str]:
    return session["status"], session["end_reason"], session["completeness"]


async def test_a_stop_of_the_whole_group_lets_a_session_go_on_to_its_end(
    deployment: Deployment,
) -> None:
    """The process that jobs are forked from must not go either: the worker waits by it."""
    worker = deployment.start_worker(COACH_DRAIN_SECONDS="120")
    await deployment.make_room("drained")
    client = await deployment.client("drained")
    await greeted(client)
    os.killpg(worker.process.pid, signal.SIGTERM)
    await stopping(worker)
    await converse(client, 101, 102)
    assert worker.running()
    await client.leave()
    session = await deployment.ended_session("drained")
    assert outcome(session) == ("completed", "client_left", "complete")
    assert await spoken(deployment, "drained") == [lines.utterance(101), lines.utterance(102)]
    assert await exit_code(worker) == 0


async def test_a_second_signal_hurries_and_loses_no_turn(deployment: Deployment) -> None:
    worker = deployment.start_worker(COACH_DRAIN_SECONDS="3600")
    await deployment.make_room("hurried")
    client = await deployment.client("hurried")
    await greeted(client)
    os.killpg(worker.process.pid, signal.SIGTERM)
    await stopping(worker)
    await converse(client, 111)
    os.killpg(worker.process.pid, signal.SIGTERM)
    session = await deployment.ended_session("hurried")
    assert outcome(session) == ("completed", "worker_shutdown", "complete")
    assert await spoken(deployment, "hurried") == [lines.utterance(111)]
    assert await exit_code(worker) == 0
    await client.leave()


async def test_a_stop_is_heard_while_the_jobs_of_a_worker_before_are_waited_for(
    deployment: Deployment, tmp_path: Path
) -> None:
    """What such a job has yet to say is not in Postgres: the exit code says so."""
    folder = tmp_path / str(uuid4())
    running = JournalWriter.create(folder, uuid4(), max_bytes=1024**3)
    running.append(started(room_name="before"))
    assert await running.durable(10)
    environment = deployment.environment(COACH_JOURNAL_DIR=str(tmp_path))
    worker = deployment.children.spawn(
        "waiting", [sys.executable, "-m", "agent.cli", "start"], environment
    )
    deployment.workers.append(worker)

    async def waits() -> bool:
        return any("journal_folder_adopted" in line for line in worker.output())

    await eventually(waits)
    worker.process.terminate()
    assert await exit_code(worker) == UNSHIPPED
    running.append(ended())
    assert await asyncio.to_thread(running.close, 10)


@pytest.mark.full
async def test_after_its_time_to_drain_a_stopping_worker_ends_the_session_itself(
    deployment: Deployment,
) -> None:
    """Told alone, and once: the client goes on talking, and every word of it is stored."""
    worker = deployment.start_worker(COACH_DRAIN_SECONDS="2")
    await deployment.make_room("overdue")
    client = await deployment.client("overdue")
    await greeted(client)
    worker.process.terminate()
    await stopping(worker)
    await say(client, 131)
    session = await deployment.ended_session("overdue")
    assert outcome(session) == ("completed", "worker_shutdown", "complete")
    assert await spoken(deployment, "overdue") == [lines.utterance(131)]
    assert await exit_code(worker) == 0
    await client.leave()


async def test_a_stop_waits_for_the_words_that_a_realtime_provider_owes(
    deployment: Deployment,
) -> None:
    """It has heard them and not yet said what they were when the worker closes the voice."""
    worker = deployment.start_worker()
    await deployment.make_room("owed", '{"pipeline": "realtime"}')
    client = await deployment.client("owed")
    await greeted(client)
    deployment.providers.fault(stage="transcription", kind="delay", seconds=1.5)
    await say(client, 141)

    async def heard() -> bool:
        return any(141 in entry.get("ids", ()) for entry in deployment.providers.log())

    await eventually(heard)
    worker.process.terminate()
    session = await deployment.ended_session("owed")
    assert outcome(session) == ("completed", "worker_shutdown", "complete")
    assert await spoken(deployment, "owed") == [lines.utterance(141)]
    assert await exit_code(worker) == 0
    await client.leave()


async def test_jobs_that_run_apart_stop_in_order(deployment: Deployment) -> None:
    """As what a container runs, they hear a SIGTERM or none: nobody has to rescue their work."""
    command = [sys.executable, "-m", "agent.cli", "jobs"]
    jobs = deployment.children.spawn("jobs", command, deployment.environment())
    at_work = partial(deployment.query, "SELECT FROM procrastinate_workers")
    await eventually(at_work, 30)
    jobs.process.terminate()
    assert await exit_code(jobs) == 0
    assert await at_work() == []


@pytest.mark.full
async def test_in_development_a_stop_ends_sessions_at_once(deployment: Deployment) -> None:
    command = [sys.executable, "-m", "agent.cli", "dev"]
    worker = deployment.children.spawn("dev", command, deployment.environment())
    deployment.workers.append(worker)

    async def registered() -> bool:
        return any("worker_registered" in line for line in worker.output())

    await eventually(registered, 60)
    await deployment.make_room("dev")
    client = await deployment.client("dev")
    await greeted(client)
    await converse(client, 121)
    worker.process.terminate()
    session = await deployment.ended_session("dev")
    assert outcome(session) == ("completed", "worker_shutdown", "complete")
    assert await spoken(deployment, "dev") == [lines.utterance(121)]
    assert await exit_code(worker) == 0
    await client.leave()
