"""Whatever comes from outside, the session goes on and nothing is lost."""

from __future__ import annotations

import json

import pytest
from deployment import Deployment, converse, greeted, say

from agent.local.client import SAMPLE_RATE
from agent.local.providers import lines, tones
from persistence.events import IDENTITY_MAX_LENGTH


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("long", "client-" + "x" * 249),  # LiveKit itself refuses more than 256
        ("control", "client-\x01\x02\n7\x7f"),
        ("foreign", "Zoë Кот 猫 🙂"),
    ],
)
async def test_any_identity_is_coached_and_kept_bounded(
    served: Deployment, name: str, identity: str
) -> None:
    await served.make_room(f"identity-{name}")
    client = await served.client(f"identity-{name}", identity)
    await greeted(client)
    await converse(client, 11)
    await client.leave()
    session = await served.ended_session(f"identity-{name}")
    kept = session["client_identity"]
    assert 0 < len(kept) <= IDENTITY_MAX_LENGTH
    assert kept.isprintable()
    turns = await served.turns(f"identity-{name}")
    assert [t["text"] for t in turns if t["role"] == "client"] == [lines.utterance(11)]
    assert {t["speaker_identity"] for t in turns if t["role"] == "client"} == {kept}


@pytest.mark.parametrize("metadata", ["{", "[1]", "\\u0000", json.dumps({"pipeline": "telepathy"})])
async def test_malformed_metadata_is_said_and_does_no_harm(
    served: Deployment, metadata: str
) -> None:
    room = f"metadata-{abs(hash(metadata))}"
    await served.make_room(room, metadata, room_metadata=metadata)
    client = await served.client(room)
    await greeted(client)
    await client.leave()
    session = await served.ended_session(room)
    assert session["pipeline"] == "stt-llm-tts"
    (event,) = await served.query(
        "SELECT type, data FROM session_events WHERE session_id = %s", session["id"]
    )
    assert event["type"] == "metadata_ignored"
    assert set(event["data"]["fields"]) <= {"room_metadata", "job_metadata", "pipeline"}


async def test_a_recogniser_that_sends_garbage_costs_no_other_word(served: Deployment) -> None:
    """A frame that is no JSON, between two utterances: the second one is heard and kept."""
    await served.make_room("garbage")
    client = await served.client("garbage")
    await greeted(client)
    await converse(client, 21)
    served.providers.fault(stage="stt", kind="garbage")
    await say(client, 22)
    await client.speak(tones.silence(1.5, SAMPLE_RATE))
    await converse(client, 23)
    await client.leave()
    await served.ended_session("garbage")
    texts = [t["text"] for t in await served.turns("garbage") if t["role"] == "client"]
    assert lines.utterance(21) in " ".join(texts)
    assert lines.utterance(23) in " ".join(texts)


async def test_a_coach_alone_in_the_room_is_no_session(served: Deployment) -> None:
    """The human coach is there first: the agent waits for the client, and listens to them."""
    await served.make_room("coached")
    coach = await served.client("coached", "coach-1")
    await coach.until(lambda c: c.agent() is not None)
    assert await served.session("coached") is None
    client = await served.client("coached", "client-1")
    await greeted(client)
    await converse(client, 31)
    await client.leave()
    session = await served.ended_session("coached")
    assert session["client_identity"] == "client-1"
    await coach.leave()
