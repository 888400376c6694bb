"""A client whose connection breaks: back in time the same session goes on, later it is another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from deployment import Deployment, Row, converse, eventually, greeted

from agent.local.providers import lines


@pytest.fixture(autouse=True)
def no_worker_left(deployment: Deployment) -> Iterator[None]:
    yield
    for worker in list(deployment.workers):
        deployment.stop_worker(worker)


async def sessions(deployment: Deployment, room: str) -> list[Row]:
    return await deployment.query(
        "SELECT * FROM sessions WHERE room_name = %s ORDER BY started_at", room
    )


async def marked(deployment: Deployment, room: str, kind: str) -> None:
    """Wait until the session of `room` has an event of that kind."""
    await eventually(
        lambda: deployment.query(
            "SELECT e.id FROM session_events e JOIN sessions s ON s.id = e.session_id "
            "WHERE s.room_name = %s AND e.type = %s",
            room,
            kind,
        ),
        60,
    )


async def spoken(deployment: Deployment, room: str) -> list[str]:
    return [turn["text"] for turn in await deployment.turns(room) if turn["role"] == "client"]


async def goes_on(deployment: Deployment, room: str) -> None:
    """Come back, talk, hear and read the coach, leave; what was said is in the one session."""
    client = await deployment.client(room)
    await client.until(lambda c: c.agent_state() == "listening")
    await marked(deployment, room, "client_returned")
    (microphone,) = client.room.local_participant.track_publications.values()
    await asyncio.wait_for(microphone.wait_for_subscription(), 60)
    await converse(client, 141, 142)
    assert client.captions_of(client.room.local_participant.identity) == [
        lines.utterance(141),
        lines.utterance(142),
    ]
    assert client.agent_sound().sound_seconds > 1
    await client.leave()
    session = await deployment.ended_session(room)
    assert (session["end_reason"], session["completeness"]) == ("client_left", "complete")
    assert await spoken(deployment, room) == [lines.utterance(141), lines.utterance(142)]


async def test_a_lost_client_who_comes_back_in_time_goes_on_with_the_same_session(
    deployment: Deployment,
) -> None:
    deployment.start_worker()
    await deployment.make_room("back")
    lost = deployment.vanishing_client("back")
    await eventually(lambda: deployment.turns("back"), 30)
    lost.kill()
    lost.wait()
    await marked(deployment, "back", "client_dropped")
    await goes_on(deployment, "back")


@pytest.mark.full
async def test_a_client_who_is_back_before_anybody_missed_them_goes_on_too(
    deployment: Deployment,
) -> None:
    """The server puts the newcomer in the place of the one whose connection is dead."""
    deployment.start_worker()
    await deployment.make_room("at-once")
    lost = deployment.vanishing_client("at-once")
    await eventually(lambda: deployment.turns("at-once"), 30)
    lost.kill()
    lost.wait()
    await goes_on(deployment, "at-once")


async def test_a_client_who_comes_back_too_late_begins_another_session(
    deployment: Deployment,
) -> None:
    """The room is still there, and nobody waits alone in it."""
    deployment.start_worker(COACH_CLIENT_GRACE_SECONDS="0.5", COACH_LONE_CLIENT_SECONDS="1")
    await deployment.make_room("late")
    lost = deployment.vanishing_client("late")
    await eventually(lambda: deployment.turns("late"), 30)
    lost.kill()
    lost.wait()
    first = await deployment.ended_session("late", 60)
    client = await deployment.client("late")
    await client.until(lambda c: c.agent_captions(), 60)
    await greeted(client)
    await converse(client, 151)
    await client.leave()

    async def both_ended() -> list[Row] | None:
        found = await sessions(deployment, "late")
        return found if len(found) == 2 and found[1]["ended_at"] else None

    ended, second = await eventually(both_ended)
    assert ended["id"] == first["id"]
    assert [s["end_reason"] for s in (ended, second)] == ["client_left", "client_left"]
    assert await spoken(deployment, "late") == [lines.utterance(151)]
