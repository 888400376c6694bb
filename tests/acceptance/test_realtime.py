"""OpenAI Realtime instead of three providers: same recorder, journal, captions and receipt."""

from __future__ import annotations

import json

import pytest
from deployment import Deployment, converse, greeted, say

from agent.local.client import SAMPLE_RATE
from agent.local.providers import lines

REALTIME = json.dumps({"pipeline": "realtime"})


async def test_both_sides_of_a_realtime_conversation_are_kept(served: Deployment) -> None:
    await served.make_room("realtime", REALTIME)
    client = await served.client("realtime")
    await greeted(client)
    await converse(client, 5, 6)
    captions = client.agent_captions()
    await client.leave()
    session = await served.ended_session("realtime", within=4)
    turns = await served.turns("realtime")
    assert session["pipeline"] == "realtime"
    assert (session["status"], session["completeness"]) == ("completed", "complete")
    assert [t["text"] for t in turns if t["role"] == "client"] == [
        lines.utterance(5),
        lines.utterance(6),
    ]
    answered = [t["text"] for t in turns if t["role"] == "ai"]
    assert answered[1:] == [lines.reply(5), lines.reply(6)]
    assert answered == [caption.strip() for caption in captions]
    assert [t["role"] for t in turns] == ["ai", "client", "ai", "client", "ai"]


async def test_who_hangs_up_with_the_last_word_has_said_it(served: Deployment) -> None:
    """The provider owes it, or waits for a silence that will not come: then it is committed.

    A quarter of a second is what the sound needs to leave the client's machine before the client.
    """
    await served.make_room("last-word", REALTIME)
    client = await served.client("last-word")
    await greeted(client)
    await converse(client, 8)
    await say(client, 9)
    await client.speak(bytes(2 * SAMPLE_RATE // 4))
    await client.leave()
    session = await served.ended_session("last-word")
    turns = await served.turns("last-word")
    assert [t["text"] for t in turns if t["role"] == "client"] == [
        lines.utterance(8),
        lines.utterance(9),
    ]
    assert (session["completeness"], session["completeness_reason"]) == ("complete", None)


@pytest.mark.parametrize(
    ("kind", "reason"), [("hang", "transcript_pending"), ("garbage", "transcription_failed")]
)
async def test_speech_that_was_never_transcribed_makes_the_receipt_partial(
    served: Deployment, kind: str, reason: str
) -> None:
    """The provider owes a transcript, or says that it has none: the receipt says so."""
    await served.make_room(kind, REALTIME)
    client = await served.client(kind)
    await greeted(client)
    served.providers.fault(stage="transcription", kind=kind)
    await converse(client, 7)
    await client.leave()
    session = await served.ended_session(kind)
    assert session["completeness"] == "partial"
    assert session["completeness_reason"] == reason
