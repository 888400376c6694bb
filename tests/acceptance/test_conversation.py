"""The main job: talk to the coach, and find every word in Postgres."""

from __future__ import annotations

import asyncio
import json

import pytest
from deployment import Deployment, converse, eventually, greeted, say
from livekit import api

from agent.local.client import SAMPLE_RATE
from agent.local.providers import lines, tones
from persistence.events import transcript_sha256


def replies(pcm: bytes) -> list[int]:
    """Return the ids of the replies that audio holds, each once, in order."""
    decoder = tones.Decoder(SAMPLE_RATE)
    codes = [*decoder.feed(pcm), *decoder.flush()]
    ids = [c.id for c in codes if isinstance(c, tones.Code) and c.kind is tones.Kind.REPLY]
    return list(dict.fromkeys(ids))


async def test_every_word_of_a_conversation_is_in_postgres_as_it_was_said(
    served: Deployment,
) -> None:
    """Spoken, heard, captioned and stored agree; the end is there within 2 s of leaving, once."""
    await served.make_room("one", json.dumps({"scenario_id": "first-day"}))
    client = await served.client("one")
    await greeted(client)
    await converse(client, 5, 6, 7)
    captions = client.agent_captions()
    sound = bytes(client.agent_sound().pcm)
    await client.leave()
    session = await served.ended_session("one", within=2)
    turns = await served.turns("one")

    said = [t["text"] for t in turns if t["role"] == "client"]
    answered = [t["text"] for t in turns if t["role"] == "ai"]
    assert said == [lines.utterance(i) for i in (5, 6, 7)]
    assert answered[1:] == [lines.reply(i) for i in (5, 6, 7)]
    assert answered == [caption.strip() for caption in captions]
    assert replies(sound)[1:] == [5, 6, 7]
    assert [t["role"] for t in turns] == ["ai", "client"] * 3 + ["ai"]
    assert all(t["started_at"] <= t["ended_at"] for t in turns)

    assert (session["status"], session["end_reason"]) == ("completed", "client_left")
    assert session["completeness"] == "complete"
    assert session["turn_count"] == len(turns) == 7
    assert session["transcript_sha256"] == transcript_sha256(
        (t["seq"], t["item_id"], t["role"], t["speaker_identity"], t["text"], t["interrupted"])
        for t in turns
    )
    assert 0 < session["duration_seconds"] < 60
    assert session["client_identity"] == "client-7"
    assert (session["pipeline"], session["scenario_id"]) == ("stt-llm-tts", "first-day")


async def test_confidence_language_and_latencies_are_kept(served: Deployment) -> None:
    await served.make_room("metrics")
    client = await served.client("metrics")
    await greeted(client)
    await converse(client, 8)
    await client.leave()
    await served.ended_session("metrics")
    spoken = {t["role"]: t for t in await served.turns("metrics")}
    assert spoken["client"]["confidence"] == pytest.approx(lines.confidence(8))
    assert spoken["client"]["language"] == "en"
    assert spoken["client"]["metrics"]["end_of_turn_delay"] > 0
    assert spoken["ai"]["metrics"]["e2e_latency"] > 0
    assert spoken["ai"]["speaker_identity"] is None


async def test_two_rooms_at_once_do_not_mix(served: Deployment) -> None:
    for room in ("left", "right"):
        await served.make_room(room)
    left = await served.client("left", "client-l")
    right = await served.client("right", "client-r")
    await asyncio.gather(greeted(left), greeted(right))
    await asyncio.gather(converse(left, 11, 12), converse(right, 21, 22))
    await asyncio.gather(left.leave(), right.leave())
    for room, ids in (("left", [11, 12]), ("right", [21, 22])):
        await served.ended_session(room)
        texts = [t["text"] for t in await served.turns(room)]
        heard = [id_ for text in texts for id_ in lines.utterances_in(text)]
        assert heard == ids
        assert [lines.reply(i) for i in ids] == [t for t in texts[1:] if t.startswith("Answer")]
    assert replies(bytes(left.agent_sound().pcm))[1:] == [11, 12]
    assert replies(bytes(right.agent_sound().pcm))[1:] == [21, 22]


async def test_an_interrupted_answer_says_what_was_heard_and_what_was_meant(
    served: Deployment,
) -> None:
    """Ten seconds of answer, cut off after about three by the client's next words."""
    await served.make_room("cut")
    client = await served.client("cut")
    await greeted(client)
    await say(client, 900)
    await client.until(lambda c: any("part two" in x.text for x in c.captions.values()))
    await say(client, 31)
    await client.until(
        lambda c: c.agent_state() == "listening" and lines.reply(31) in c.agent_captions()[-1]
    )
    await client.leave()
    await served.ended_session("cut")
    turns = await served.turns("cut")
    (cut,) = [t for t in turns if t["interrupted"]]
    assert cut["generated_text"] == lines.reply(900)
    assert lines.reply(900).startswith(cut["text"])
    assert len(cut["text"]) < len(lines.reply(900)) * 0.8
    assert [t["text"] for t in turns if t["role"] == "client"] == [
        lines.utterance(900),
        lines.utterance(31),
    ]
    assert (turns[-1]["text"], turns[-1]["interrupted"]) == (lines.reply(31), False)


async def test_the_last_words_before_leaving_are_kept(served: Deployment) -> None:
    """The client hangs up before the pause that ends a turn: no answer, and no loss."""
    await served.make_room("last")
    client = await served.client("last")
    await greeted(client)
    await say(client, 41)
    await client.speak(tones.silence(0.2, SAMPLE_RATE))
    await client.leave()
    session = await served.ended_session("last")
    assert lines.utterance(41) in [t["text"] for t in await served.turns("last")]
    assert session["completeness"] == "complete"


async def test_a_typed_message_is_a_turn_and_is_answered(served: Deployment) -> None:
    await served.make_room("typed")
    client = await served.client("typed")
    await greeted(client)
    await client.type(lines.utterance(51) + "\0")
    await client.until(lambda c: any(lines.reply(51) in text for text in c.agent_captions()))
    await client.leave()
    await served.ended_session("typed")
    (typed,) = [t for t in await served.turns("typed") if t["role"] == "client"]
    assert (typed["source"], typed["text"]) == ("text", lines.utterance(51) + "\ufffd")


async def test_a_vanished_client_has_a_grace_time_and_then_the_session_ends(
    deployment: Deployment,
) -> None:
    """No goodbye on the wire: the process is gone. The session ends by itself, completed."""
    deployment.start_worker("graceful", COACH_CLIENT_GRACE_SECONDS="1", COACH_AGENT_NAME="graceful")
    await deployment.make_room("gone", agent="graceful")
    vanishing = deployment.vanishing_client("gone")
    await eventually(lambda: deployment.turns("gone"))
    vanishing.kill()
    session = await deployment.ended_session("gone", within=60)
    assert (session["status"], session["end_reason"]) == ("completed", "client_left")
    events = await deployment.query(
        "SELECT type FROM session_events WHERE session_id = %s", session["id"]
    )
    assert "client_dropped" in [e["type"] for e in events]


async def test_a_deleted_room_ends_its_session_as_such(served: Deployment) -> None:
    await served.make_room("deleted")
    client = await served.client("deleted")
    await greeted(client)
    async with served.livekit_api() as livekit:
        await livekit.room.delete_room(api.DeleteRoomRequest(room="deleted"))
    session = await served.ended_session("deleted")
    assert (session["status"], session["end_reason"]) == ("completed", "room_deleted")
    await client.leave()


@pytest.mark.full
async def test_the_end_of_turn_model_of_production_runs_here_without_any_cloud(
    deployment: Deployment,
) -> None:
    """The default of `coach start`; synthetic speech sounds unfinished to it: it takes longer."""
    deployment.start_worker("default", COACH_TURN_DETECTION="v1-mini", COACH_AGENT_NAME="default")
    await deployment.make_room("default", agent="default")
    client = await deployment.client("default")
    await greeted(client)
    await converse(client, 5, 6)
    await client.leave()
    session = await deployment.ended_session("default")
    assert session["completeness"] == "complete"
    said = [t["text"] for t in await deployment.turns("default") if t["role"] == "client"]
    assert said == [lines.utterance(5), lines.utterance(6)]
