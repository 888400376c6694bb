"""A session past its greatest length: the client hears it coming, hears a goodbye, and it ends."""

from __future__ import annotations

import asyncio
import os
import signal

from deployment import Deployment, converse, greeted, say
from livekit import rtc

import prompts
from agent.local.client import RoomClient
from agent.local.providers import lines


def words_of_others(client: RoomClient) -> list[str]:
    """Return what is being captioned, and was, of whoever else is in the room."""
    own = client.room.local_participant.identity
    return [c.text.strip() for c in client.captions.values() if c.speaker != own and c.text.strip()]


async def test_a_session_past_its_time_is_ended_with_words_that_are_heard(
    deployment: Deployment,
) -> None:
    """The room goes with it: nobody calls another agent for who is still in it.

    A worker that is told to stop meanwhile waits for all that, however long a session may last.
    """
    worker = deployment.start_worker(
        COACH_MAX_SESSION_MINUTES="0.5",
        COACH_SESSION_WARNING_MINUTES="5",
        COACH_LONE_CLIENT_SECONDS="0.5",
        COACH_DRAIN_SECONDS="",
    )
    await deployment.make_room("limit")
    client = await deployment.client("limit")
    await greeted(client)
    await converse(client, 131)
    warning, goodbye = prompts.spoken("time_warning").text, prompts.spoken("time_up").text
    os.killpg(worker.process.pid, signal.SIGTERM)
    await client.until(lambda c: any(warning.startswith(x) for x in words_of_others(c)))
    await say(client, 132)  # into the warning: it goes on, and is followed by an answer
    said = [warning, lines.reply(132)]
    await client.until(lambda c: [x.strip() for x in c.agent_captions()[-2:]] == said)
    session = await deployment.ended_session("limit", 60)
    assert (session["status"], session["end_reason"]) == ("completed", "max_duration")
    assert session["completeness"] == "complete"
    turns = await deployment.turns("limit")
    assert [t["text"] for t in turns if t["role"] == "client"] == [
        lines.utterance(131), lines.utterance(132)
    ]  # fmt: skip
    spoken = {t["text"]: t["interrupted"] for t in turns if t["role"] == "ai"}
    assert (spoken.get(warning), spoken.get(goodbye)) == (False, False)
    await client.until(lambda c: c.room.connection_state == rtc.ConnectionState.CONN_DISCONNECTED)
    assert goodbye in client.agent_captions()
    assert len(client.agents) == 1
    await client.leave()
    assert await asyncio.to_thread(worker.process.wait, 30) == 0
    deployment.workers.remove(worker)
