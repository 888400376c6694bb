"""Wall clocks that jump while somebody talks: a real room, real audio, and a clock set right.

The worker and all its jobs see that clock; LiveKit, Postgres, the providers and the client keep
theirs, and what they saw is what counts.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from deployment import Deployment, converse
from killing import IDENTITY, Scene, Stage, jobs_of, outcome

from agent.local.client import RoomClient
from agent.local.providers import lines
from agent.local.wrong_clock import WrongClock

HOUR = 3600
ALOUD = 1.0
"""Seconds of sound that an exchange of words takes at least."""


def words_of_the_client(client: RoomClient) -> int:
    """Return how many of the client's words have been read by now."""
    return sum(len(c.text.split()) for c in client.captions.values() if c.speaker == IDENTITY)


async def exchange(scene: Scene, id_: int, clock: WrongClock, jumps: tuple[int, int]) -> None:
    """Talk of `id_`; the clock jumps within the client's words, and again within the answer."""
    client, known = scene.client, words_of_the_client(scene.client)
    talking = asyncio.create_task(converse(client, id_))
    await client.until(lambda c: words_of_the_client(c) > known)
    clock.jump(jumps[0])
    await client.until(lambda c: c.agent_state() == "speaking")
    clock.jump(jumps[1])
    await talking


async def told(scene: Scene, *ids: int) -> list[dict[str, Any]]:
    """Return the turns: all that was said, once, one after the other; each with its own answer."""
    assert await scene.wrong() == []
    turns = await scene.deployment.turns(scene.room)
    said = [turn["text"] for turn in turns if turn["role"] == "client"]
    assert said == [lines.utterance(id_) for id_ in ids]
    assert [turn["role"] for turn in turns] == ["ai", *["client", "ai"] * len(ids)]
    answers = [turn["text"] for turn in turns if turn["role"] == "ai"]
    assert answers == [lines.reply(id_) for id_ in (0, *ids)]
    assert not any(turn["interrupted"] for turn in turns)
    return turns


@pytest.mark.full
@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_conversation_goes_on_through_jumps_and_stands_there_as_it_was(
    deployment: Deployment, wrong_clock: WrongClock, jump: int, stage: Stage
) -> None:
    """Each is answered, though the framework reckons pauses by the wall clock."""
    deployment.start_worker("jumping", **wrong_clock.environment)
    began = datetime.now(UTC)
    scene = await stage(f"jumping{jump}")
    await exchange(scene, 51, wrong_clock, (jump, 0))
    await exchange(scene, 52, wrong_clock, (-jump, jump))
    await converse(scene.client, 53)
    await scene.leave()
    session = await scene.ended()
    over = datetime.now(UTC)
    assert outcome(session) == ("completed", "client_left", "complete")
    turns = await told(scene, 51, 52, 53)
    times = [session["started_at"], *(turn["started_at"] for turn in turns), session["ended_at"]]
    assert [began, *times, over] == sorted([began, *times, over])
    assert all(t["started_at"] <= t["ended_at"] <= session["ended_at"] for t in turns)
    lasted = (times[-1] - times[0]).total_seconds()
    assert session["duration_seconds"] == pytest.approx(lasted, abs=1)
    assert lasted > ALOUD * 3


@pytest.mark.full
@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_session_that_begins_by_a_wrong_clock_is_whole_and_as_long_as_it_was(
    deployment: Deployment, wrong_clock: WrongClock, jump: int, stage: Stage
) -> None:
    """When it began, is what its machine took for the time, until its end."""
    deployment.start_worker("wrong", **wrong_clock.environment)
    wrong_clock.jump(jump)
    began = datetime.now(UTC)
    scene = await stage(f"wrong{jump}")
    await exchange(scene, 54, wrong_clock, (0, 0))
    await scene.leave()
    session = await scene.ended()
    lasted = (datetime.now(UTC) - began).total_seconds()
    assert outcome(session) == ("completed", "client_left", "complete")
    turns = await told(scene, 54)
    assert round((session["started_at"] - began).total_seconds() / HOUR) == jump / HOUR
    assert session["started_at"] <= turns[0]["started_at"] <= turns[-1]["ended_at"]
    assert turns[-1]["ended_at"] <= session["ended_at"]
    assert ALOUD < session["duration_seconds"] <= lasted


@pytest.mark.full
@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_session_whose_job_dies_after_a_jump_has_lived_until_then(
    deployment: Deployment, wrong_clock: WrongClock, jump: int, stage: Stage
) -> None:
    """Its last sign of life is not of the clock by which its worker finds it dead."""
    worker = deployment.start_worker("dying", **wrong_clock.environment)
    began = datetime.now(UTC)
    scene = await stage(f"dying{jump}")
    await scene.row()
    await exchange(scene, 55, wrong_clock, (jump, jump))
    (job,) = jobs_of(worker)
    await scene.kill(job.kill)
    session = await scene.ended()
    over = datetime.now(UTC)
    assert outcome(session) == ("cancelled", "error", "recovered")
    assert await scene.wrong() == []
    assert began <= session["started_at"] <= session["ended_at"] <= over
    assert ALOUD < session["duration_seconds"] <= (over - began).total_seconds()
