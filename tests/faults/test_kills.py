"""Kill -9 at any instant: what was said is in Postgres afterwards, once, and its session ended.

The moment is taken from what happens (the recogniser's stand-in has sent a text, the client has
read a word), never from a clock. What has to be there is what the stand-in sent 100 ms before the
kill, and what the client had read of the AI's words 500 ms before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import replace

import psutil
import pytest
from deployment import Deployment, converse, eventually, greeted, say
from killing import (
    Moment,
    Scene,
    Stage,
    descendants,
    jobs_of,
    kill_group,
    kill_parent,
    outcome,
)

from agent.local.chaos.database import Database
from agent.local.client import SAMPLE_RATE
from agent.local.processes import Child, wait_until
from agent.local.providers import lines, tones

LONG = 2.4
"""Seconds of an utterance that goes on while something happens."""


async def before_the_first_word(scene: Scene) -> None:
    await scene.row()


async def during_the_greeting(scene: Scene) -> None:
    await scene.client.until(lambda c: any("what" in x.text for x in c.captions.values()))


async def between_a_final_segment_and_its_turn(scene: Scene) -> None:
    """The client goes on speaking: the turn is not over, and the first piece of it is final."""
    await say(scene.client, 31)
    speaking = asyncio.create_task(_speak_long(scene, 32))
    await scene.heard(31)
    assert [t["role"] for t in await scene.deployment.turns(scene.room)].count("client") == 0
    speaking.cancel()


async def while_it_thinks(scene: Scene) -> None:
    scene.deployment.providers.fault(stage="llm", kind="hang", count=None)
    await say(scene.client, 33)
    await scene.turns(2)


async def while_it_speaks(scene: Scene) -> None:
    await say(scene.client, 934)
    await scene.client.until(lambda c: any("part two" in x.text for x in c.captions.values()))


async def while_the_client_speaks(scene: Scene) -> None:
    """Half a sentence is not final: it is nobody's turn yet, what came before it is."""
    await converse(scene.client, 35)
    states = len(scene.client.captions)
    speaking = asyncio.create_task(_speak_long(scene, 36))
    await scene.client.until(lambda c: len(c.captions) > states)
    speaking.cancel()


async def while_it_closes(scene: Scene) -> None:
    """The client hangs up in the middle of a word, for whose text a closing session waits."""
    await converse(scene.client, 37)
    captions = len(scene.client.captions)
    speaking = asyncio.create_task(_speak_long(scene, 38))
    await scene.client.until(lambda c: len(c.captions) > captions)
    speaking.cancel()
    await scene.leave()


async def _speak_long(scene: Scene, id_: int) -> None:
    await scene.client.speak(tones.encode(id_, sample_rate=SAMPLE_RATE, duration=LONG))


SWEEP = [
    between_a_final_segment_and_its_turn,
    pytest.param(before_the_first_word, marks=pytest.mark.full),
    pytest.param(during_the_greeting, marks=pytest.mark.full),
    pytest.param(while_it_speaks, marks=pytest.mark.full),
    pytest.param(while_it_thinks, marks=pytest.mark.full),
    pytest.param(while_the_client_speaks, marks=pytest.mark.full),
    pytest.param(while_it_closes, marks=pytest.mark.full),
]


@pytest.mark.parametrize("moment", SWEEP)
async def test_a_job_that_is_killed_loses_no_word(
    deployment: Deployment, moment: Moment, stage: Stage
) -> None:
    worker = deployment.start_worker()
    if moment is before_the_first_word:
        deployment.providers.fault(stage="llm", kind="hang", count=None)
    at_once = moment in (before_the_first_word, during_the_greeting)
    scene = await stage(moment.__name__, greeting=not at_once)
    await eventually(lambda: asyncio.to_thread(jobs_of, worker))
    (job,) = jobs_of(worker)
    await moment(scene)
    await scene.kill(job.kill)
    session = await scene.ended()
    assert await scene.wrong() == []
    ends = {("cancelled", "error", "recovered")}
    if moment is while_it_closes:
        ends.add(("completed", "client_left", "complete"))
    assert outcome(session) in ends
    await scene.leave()


@pytest.mark.full
async def test_a_job_that_is_killed_after_its_end_changes_nothing_of_it(
    deployment: Deployment, stage: Stage
) -> None:
    """It lingers for its last hooks, when its session is over."""
    worker = deployment.start_worker()
    scene = await stage("after-its-end")
    (job,) = jobs_of(worker)
    await converse(scene.client, 41)
    await scene.leave()
    await deployment.ended_session(scene.room)
    with contextlib.suppress(psutil.NoSuchProcess):
        job.kill()
    before = await scene.ended()
    await asyncio.to_thread(psutil.wait_procs, [job], 10)
    deployment.stop_worker(worker)
    assert await scene.ended() == before
    assert outcome(before) == ("completed", "client_left", "complete")
    assert await scene.wrong() == []


async def test_a_worker_killed_in_the_middle_of_its_recovery_recovers_at_the_next_start(
    deployment: Deployment, stage: Stage
) -> None:
    """Two kills in a row: the second while it ends what the first left."""
    first = deployment.start_worker()
    scene = await stage("twice")
    await converse(scene.client, 51)
    await say(scene.client, 52)
    await scene.heard(52)
    await scene.kill(lambda: kill_group(deployment, first))
    await scene.leave()
    second = start_unready(deployment, "second")
    wait_until(lambda: "journal_folder_adopted" in "\n".join(second.output()), second, 30)
    kill_group(deployment, second)
    deployment.start_worker("third")
    session = await scene.ended()
    assert outcome(session) == ("cancelled", "worker_lost", "recovered")
    assert await scene.wrong() == []


async def test_jobs_go_with_the_worker_that_is_killed_alone_and_the_next_ends_their_sessions(
    deployment: Deployment, stage: Stage
) -> None:
    """None of its processes stays behind; whoever comes next has to wait for them."""
    worker = deployment.start_worker()
    scene = await stage("parent")
    await converse(scene.client, 61)
    await say(scene.client, 962)
    await scene.client.until(lambda c: any("part two" in x.text for x in c.captions.values()))
    family = descendants(worker)
    await scene.kill(lambda: kill_parent(deployment, worker))
    deployment.start_worker("next")
    session = await scene.ended(60)
    assert outcome(session) == ("cancelled", "worker_lost", "recovered")
    assert await scene.wrong() == []
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 30)
    assert alive == []
    await scene.leave()


@pytest.mark.full
async def test_the_process_that_jobs_are_forked_from_is_killed_and_the_next_room_has_its_coach(
    deployment: Deployment, stage: Stage
) -> None:
    """The session of that moment goes on. The process that was warm is lost to the next client,
    who has another agent called."""
    worker = deployment.start_worker()
    scene = await stage("forkserver")
    await converse(scene.client, 71)
    forkserver = next(p for p in descendants(worker) if "forkserver" in " ".join(p.cmdline()))
    forkserver.kill()
    await converse(scene.client, 72)
    await scene.leave()
    assert outcome(await scene.ended()) == ("completed", "client_left", "complete")
    assert await scene.wrong() == []
    following = await stage("after-forkserver", greeting=False)
    await following.client.until(lambda c: c.agent_captions(), 60)
    await greeted(following.client)
    await converse(following.client, 73)
    await following.leave()
    await following.turns(3)
    spoken = [t["text"] for t in await deployment.turns(following.room) if t["role"] == "client"]
    assert spoken == [lines.utterance(73)]


@pytest.mark.full
async def test_the_tracker_of_resources_is_killed_and_nobody_notices(
    deployment: Deployment, stage: Stage
) -> None:
    worker = deployment.start_worker()
    scene = await stage("tracker")
    tracker = next(p for p in descendants(worker) if "resource_tracker" in " ".join(p.cmdline()))
    tracker.kill()
    await converse(scene.client, 81)
    await scene.leave()
    assert outcome(await scene.ended()) == ("completed", "client_left", "complete")
    assert await scene.wrong() == []


@pytest.mark.full
async def test_a_kill_while_postgres_is_away_loses_nothing_of_what_only_the_disk_has(
    deployment: Deployment, database: Database, stage: Stage
) -> None:
    """Killed before a word of it was stored, recovered before Postgres is back."""
    there = replace(deployment, database_url=database.url(database.port), workers=[])
    lost = there.start_worker("postgres-away")
    scene = await stage("postgres-away", deployment=there)
    await scene.row()
    database.kill()
    await converse(scene.client, 91)
    await say(scene.client, 92)
    await scene.heard(92)
    await scene.kill(lambda: kill_group(there, lost))
    await scene.leave()
    following = there.start_worker("postgres-back")
    assert "sessions_recovered" in "\n".join(following.output())
    database.start()
    session = await scene.ended(60)
    assert outcome(session) == ("cancelled", "worker_lost", "recovered")
    assert await scene.wrong() == []
    there.stop_worker(following)


def start_unready(deployment: Deployment, name: str) -> Child:
    """Start a worker and do not wait for it."""
    command = [sys.executable, "-m", "agent.cli", "start"]
    child = deployment.children.spawn(name, command, deployment.environment())
    deployment.workers.append(child)
    return child
