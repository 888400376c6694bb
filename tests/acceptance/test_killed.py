"""Processes that die at any instant: what was said is in Postgres afterwards, once, and ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator

import psutil
import pytest
from deployment import Deployment, Row, converse, eventually, greeted, say

from agent.local.client import RoomClient
from agent.local.processes import Child
from agent.local.providers import lines


@pytest.fixture(autouse=True)
def no_worker_left(deployment: Deployment) -> Iterator[None]:
    yield
    for worker in list(deployment.workers):
        deployment.stop_worker(worker)


def jobs_of(worker: Child) -> list[psutil.Process]:
    """Return the job processes of a worker: forked by its forkserver, each holding a journal."""
    processes = psutil.Process(worker.process.pid).children(recursive=True)
    return [process for process in processes if _has_journal(process)]


def _has_journal(process: psutil.Process) -> bool:
    try:
        return any(".journal" in file.path for file in process.open_files())
    except psutil.NoSuchProcess:  # one that was idle may have gone meanwhile
        return False


async def turns_of(deployment: Deployment, room: str, count: int) -> list[Row]:
    async def enough() -> list[Row] | None:
        turns = await deployment.turns(room)
        return turns if len(turns) >= count else None

    return await eventually(enough)


async def broken_off(deployment: Deployment, room: str) -> tuple[Row, list[Row]]:
    """Return a room's first session, once ended, and its turns: another agent's may follow."""

    async def ended() -> Row | None:
        first = "SELECT * FROM sessions WHERE room_name = %s ORDER BY started_at LIMIT 1"
        found = await deployment.query(first, room)
        return found[0] if found and found[0]["ended_at"] else None

    session = await eventually(ended)
    turns = await deployment.turns(room)
    return session, [turn for turn in turns if turn["session_id"] == session["id"]]


def spoken(turns: list[Row]) -> list[str]:
    return [t["text"] for t in turns if t["role"] == "client"]


async def test_a_killed_job_loses_no_word_and_its_session_ends_as_an_error(
    deployment: Deployment,
) -> None:
    """Killed while it answers: the question is a turn, and so is what was heard of the answer."""
    worker = deployment.start_worker()
    await deployment.make_room("job-killed")
    client = await deployment.client("job-killed")
    await greeted(client)
    await say(client, 900)
    await client.until(lambda c: any("part two" in x.text for x in c.captions.values()))
    (job,) = jobs_of(worker)
    job.kill()
    session, turns = await broken_off(deployment, "job-killed")
    assert (session["status"], session["end_reason"]) == ("cancelled", "error")
    assert session["completeness"] == "recovered"
    assert session["turn_count"] == len(turns)
    assert spoken(turns) == [lines.utterance(900)]
    heard = turns[-1]
    assert (heard["role"], heard["interrupted"]) == ("ai", True)
    assert "part one, and there is more" in heard["text"]
    assert lines.reply(900).startswith(heard["text"])
    await client.leave()


async def test_a_client_whose_agent_died_gets_another_one_in_the_same_room(
    deployment: Deployment,
) -> None:
    """LiveKit would believe in the dead one for 20 s; its worker knows better, and says so."""
    worker = deployment.start_worker(COACH_LONE_CLIENT_SECONDS="1")
    await deployment.make_room("again", '{"language": "en"}')
    client = await deployment.client("again")
    await greeted(client)
    (first,) = client.agents
    (job,) = jobs_of(worker)
    job.kill()
    await client.until(lambda c: c.agent() is None)
    await another_greets(client, first)
    assert any("lost_agent_removed" in line for line in worker.output())
    assert any("agent_called_again" in line for line in worker.output())
    async with deployment.livekit_api() as livekit:
        (call,) = await livekit.agent_dispatch.list_dispatch("again")
    assert json.loads(call.metadata) == {"language": "en", "resumed": True}
    await client.leave()


@pytest.mark.full
async def test_a_client_whose_worker_died_gets_an_agent_of_the_next_one(
    deployment: Deployment,
) -> None:
    """What is said to nobody meanwhile is asked for again."""
    worker = deployment.start_worker()
    await deployment.make_room("next-worker")
    client = await deployment.client("next-worker")
    await greeted(client)
    (first,) = client.agents
    os.killpg(worker.process.pid, signal.SIGKILL)
    worker.process.wait()
    deployment.workers.remove(worker)
    await say(client, 64)
    deployment.start_worker("next", COACH_LONE_CLIENT_SECONDS="1")
    await another_greets(client, first)
    await converse(client, 65)
    await client.leave()

    async def ended() -> list[Row] | None:
        rows = await deployment.query(
            "SELECT * FROM sessions WHERE room_name = 'next-worker' ORDER BY started_at"
        )
        return rows if len(rows) == 2 and all(row["ended_at"] for row in rows) else None

    lost, next_one = await eventually(ended)
    assert (lost["status"], lost["end_reason"]) == ("cancelled", "worker_lost")
    assert (next_one["status"], next_one["end_reason"]) == ("completed", "client_left")


async def another_greets(client: RoomClient, first: str) -> None:
    """Wait until an agent other than the `first` has spoken and listens."""
    await client.until(
        lambda c: c.agents != {first} and any(map(c.captions_of, c.agents - {first})), within=60
    )


async def test_a_killed_worker_comes_back_and_finds_every_word(deployment: Deployment) -> None:
    """The whole session of processes is gone at once, as with a machine that loses power."""
    worker = deployment.start_worker()
    await deployment.make_room("worker-killed")
    client = await deployment.client("worker-killed")
    await greeted(client)
    await converse(client, 61)
    await say(client, 62)
    await turns_of(deployment, "worker-killed", 3)
    os.killpg(worker.process.pid, signal.SIGKILL)
    worker.process.wait()
    deployment.workers.remove(worker)
    await client.leave()
    deployment.start_worker("worker-again")
    session = await deployment.ended_session("worker-killed")
    turns = await deployment.turns("worker-killed")
    assert (session["status"], session["end_reason"]) == ("cancelled", "worker_lost")
    assert session["completeness"] == "recovered"
    assert spoken(turns)[0] == lines.utterance(61)
    assert spoken(turns).count(lines.utterance(62)) <= 1
    assert len({t["item_id"] for t in turns}) == len(turns) == session["turn_count"]


async def test_sessions_of_a_worker_that_stays_away_are_reclaimed_and_nobody_elses(
    deployment: Deployment,
) -> None:
    """Another worker on the same database ends them when the lease has run out, not its own."""
    short = {"COACH_LEASE_SECONDS": "3", "COACH_LEASE_RENEWAL_SECONDS": "0.5"}
    lost = deployment.start_worker("lost", COACH_AGENT_NAME="lost", **short)
    await deployment.make_room("reclaimed", agent="lost")
    client = await deployment.client("reclaimed")
    await greeted(client)
    await converse(client, 71)
    await turns_of(deployment, "reclaimed", 3)

    elsewhere = str(deployment.folder / "another-host")
    deployment.start_worker("living", COACH_JOURNAL_DIR=elsewhere, **short)
    await deployment.make_room("lives")
    other = await deployment.client("lives")
    await greeted(other)
    os.killpg(lost.process.pid, signal.SIGKILL)
    lost.process.wait()
    deployment.workers.remove(lost)

    session = await deployment.ended_session("reclaimed")
    assert (session["status"], session["end_reason"]) == ("cancelled", "worker_lost")
    assert session["reclaimed_at"] is not None
    assert spoken(await deployment.turns("reclaimed")) == [lines.utterance(71)]
    lives = await deployment.session("lives")
    assert lives is not None
    assert lives["status"] == "active"
    await asyncio.gather(client.leave(), other.leave())
    assert (await deployment.ended_session("lives"))["status"] == "completed"


async def test_a_signal_to_the_whole_group_kills_no_session(deployment: Deployment) -> None:
    """An init system or a Ctrl-C signals every process; the jobs end their sessions in order."""
    worker = deployment.start_worker()
    await deployment.make_room("group")
    client = await deployment.client("group")
    await greeted(client)
    await converse(client, 81)
    os.killpg(worker.process.pid, signal.SIGTERM)
    session = await deployment.ended_session("group")
    assert (session["status"], session["end_reason"]) == ("completed", "worker_shutdown")
    assert session["completeness"] == "complete"
    assert spoken(await deployment.turns("group")) == [lines.utterance(81)]
    assert await asyncio.to_thread(worker.process.wait, 30) == 0
    await client.leave()
