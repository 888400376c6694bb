"""A session past its greatest length: the client hears it coming, hears a goodbye, and it ends."""

from __future__ import annotations

from deployment import Deployment, converse, greeted
from livekit import rtc

import prompts
from agent.local.providers import lines


async def test_a_session_past_its_time_is_ended_with_words_that_are_heard(
    deployment: Deployment,
) -> None:
    """The room goes with it: nobody calls another agent for who is still in it."""
    deployment.start_worker(
        COACH_MAX_SESSION_MINUTES="0.4",
        COACH_SESSION_WARNING_MINUTES="5",
        COACH_LONE_CLIENT_SECONDS="0.5",
    )
    await deployment.make_room("limit")
    client = await deployment.client("limit")
    await greeted(client)
    await converse(client, 131)
    warning, goodbye = prompts.spoken("time_warning").text, prompts.spoken("time_up").text
    await client.until(lambda c: warning in c.agent_captions())
    await converse(client, 132)
    session = await deployment.ended_session("limit", 60)
    assert (session["status"], session["end_reason"]) == ("completed", "max_duration")
    assert session["completeness"] == "complete"
    turns = await deployment.turns("limit")
    assert [t["text"] for t in turns if t["role"] == "client"] == [
        lines.utterance(131), lines.utterance(132)
    ]  # fmt: skip
    said = {t["text"]: t["interrupted"] for t in turns if t["role"] == "ai"}
    assert (said.get(warning), said.get(goodbye)) == (False, False)
    await client.until(lambda c: c.room.connection_state == rtc.ConnectionState.CONN_DISCONNECTED)
    assert goodbye in client.agent_captions()
    assert len(client.agents) == 1
    await client.leave()
