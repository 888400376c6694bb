"""Providers that hang, refuse, babble or die: the client is never left in silence, nor a word lost.

The ear is independent: how long it was silent is measured in the audio that reached the client, to
the end of which every other measure (states, captions, rows) is only compared.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from deployment import Deployment, Row, converse, greeted, say
from lateness import Lateness

import prompts
from agent.local.client import SAMPLE_RATE, RoomClient
from agent.local.providers import lines, tones

PROMISE = 5.0
"""Seconds without a sound, from the end of speech, that a client may meet."""

FILLER, APOLOGY, WELCOME, FAREWELL = (
    prompts.spoken(name).text for name in ("filler", "apology", "welcome", "farewell")
)
REALTIME = json.dumps({"pipeline": "realtime"})
MACHINE = Lateness()


@pytest.fixture(autouse=True)
def mended(deployment: Deployment) -> Iterator[None]:
    yield
    deployment.providers.clear()


@pytest.fixture(scope="module", autouse=True)
def lateness_kept() -> Iterator[None]:
    with MACHINE.kept():
        yield


async def joined(deployment: Deployment, room: str, metadata: str = "", **more: str) -> RoomClient:
    """Return a client who has been greeted."""
    await deployment.make_room(room, metadata, **more)
    client = await deployment.client(room)
    await greeted(client)
    return client


async def captioned(client: RoomClient, text: str, times: int = 1, within: float = 30) -> None:
    """Wait until something has been said so often."""
    await client.until(
        lambda c: sum(text in t.strip() for t in c.agent_captions()) >= times, within
    )


def promise_kept(client: RoomClient, spoken: float) -> None:
    """Find no silence since `spoken` that was longer than the promise and a slow machine's share.

    On an idle machine that share is some 0.1 s; where more work waits than the machine can do at
    once the product's own timers run late too.
    """
    silence = client.agent_sound().longest_silence(spoken, time.monotonic())
    assert silence < PROMISE + MACHINE.allowance(spoken)


async def told(client: RoomClient, id_: int, *texts: str) -> None:
    """Speak, wait until `texts` have been said, and find that no silence broke the promise."""
    counts = {text: sum(text in t for t in client.agent_captions()) + 1 for text in texts}
    spoken = await say(client, id_)
    for text, times in counts.items():
        await captioned(client, text, times)
    promise_kept(client, spoken)


async def gone(client: RoomClient, within: float = 15) -> None:
    """Wait until there is no room any more that anybody could be left alone in."""
    await client.until(lambda c: not c.room.isconnected(), within)


async def happened(deployment: Deployment, session: Row) -> list[str]:
    rows = await deployment.query(
        "SELECT type FROM session_events WHERE session_id = %s ORDER BY seq", session["id"]
    )
    return [row["type"] for row in rows]


async def said(deployment: Deployment, room: str, role: str) -> list[str]:
    return [turn["text"] for turn in await deployment.turns(room) if turn["role"] == role]


async def ended_well(deployment: Deployment, client: RoomClient, room: str) -> Row:
    """Leave, and return the session once it has its end."""
    await client.leave()
    session = await deployment.ended_session(room)
    assert (session["status"], session["end_reason"]) == ("completed", "client_left")
    return session


async def ended_for_good(deployment: Deployment, client: RoomClient, room: str) -> Row:
    """Find the session ended by the fault alone: told so, with its room gone, and no other call."""
    await captioned(client, FAREWELL, within=40)
    await gone(client)
    session = await deployment.ended_session(room)
    assert (session["status"], session["end_reason"]) == ("cancelled", "error")
    turns = await deployment.turns(room)
    assert turns[-1]["text"] == FAREWELL
    assert turns[-1]["interrupted"] is False
    assert session["turn_count"] == len(turns)
    assert [t.strip() for t in client.agent_captions()] == await said(deployment, room, "ai")
    await client.leave()
    return session


async def test_one_refusal_of_the_model_is_not_noticed(served: Deployment) -> None:
    client = await joined(served, "refused-once")
    served.providers.fault(stage="llm", kind="status", status=429)
    await told(client, 5, lines.reply(5))
    session = await ended_well(served, client, "refused-once")
    assert session["completeness"] == "complete"
    assert FILLER not in await said(served, "refused-once", "ai")
    assert "provider_error" in await happened(served, session)


async def test_a_model_that_hangs_gets_a_filler_before_its_answer(served: Deployment) -> None:
    """The filler is a turn of the AI, heard before the answer, and the model is not told of it."""
    client = await joined(served, "hangs")
    served.providers.fault(stage="llm", kind="hang")
    served.providers.fault(stage="llm", kind="delay", seconds=2, after=1)
    await told(client, 5, FILLER, lines.reply(5))
    await converse(client, 6)
    captions = [caption.strip() for caption in client.agent_captions()]
    session = await ended_well(served, client, "hangs")
    assert session["completeness"] == "complete"
    answered = await said(served, "hangs", "ai")
    assert answered[1:] == [FILLER, lines.reply(5), lines.reply(6)]
    assert sorted(captions) == sorted(answered)
    assert "filler" in await happened(served, session)
    assert await said(served, "hangs", "client") == [lines.utterance(5), lines.utterance(6)]


@pytest.mark.full
@pytest.mark.parametrize("at", ["connect", "result"])
async def test_a_model_that_babbles_is_asked_again_or_apologised_for(
    served: Deployment, at: str
) -> None:
    room = f"babbles-{at}"
    client = await joined(served, room)
    served.providers.fault(stage="llm", kind="garbage", at=at)
    spoken = await say(client, 5)
    await client.until(lambda c: len(c.agent_captions()) > 1)
    promise_kept(client, spoken)
    await converse(client, 6)
    await ended_well(served, client, room)
    assert await said(served, room, "client") == [lines.utterance(5), lines.utterance(6)]
    assert (await said(served, room, "ai"))[1] in (APOLOGY, lines.reply(5))


async def test_a_dead_model_ends_the_session_with_a_farewell(served: Deployment) -> None:
    """Two apologies, then a goodbye that says so; the room is gone, and nobody calls another."""
    client = await joined(served, "dead-model")
    served.providers.fault(stage="llm", kind="status", status=500, count=None)
    await told(client, 5, APOLOGY)
    await told(client, 6, APOLOGY)
    await told(client, 7, FAREWELL)
    session = await ended_for_good(served, client, "dead-model")
    assert session["completeness"] == "complete"
    assert await said(served, "dead-model", "client") == [lines.utterance(i) for i in (5, 6, 7)]
    assert {"apology", "farewell", "provider_error"} <= {*await happened(served, session)}


@pytest.mark.full
async def test_a_farewell_throws_no_human_coach_out_and_calls_no_other_agent(
    served: Deployment,
) -> None:
    """The coach and the client go on without the AI, whose session has ended."""
    client = await joined(served, "with-coach")
    coach = await served.client("with-coach", "coach-9")
    served.providers.fault(stage="llm", kind="status", status=500, count=None)
    for id_ in (5, 6):
        await told(client, id_, APOLOGY)
    await told(client, 7, FAREWELL)
    session = await served.ended_session("with-coach")
    assert (session["status"], session["end_reason"]) == ("cancelled", "error")
    await coach.until(lambda c: c.agent() is None)
    async with served.livekit_api() as livekit:
        assert list(await livekit.agent_dispatch.list_dispatch("with-coach")) == []
    assert [person.identity for person in coach.room.remote_participants.values()] == ["client-7"]
    assert client.room.isconnected()
    await client.leave()
    await coach.leave()


@pytest.mark.full
async def test_an_answer_that_fails_at_once_is_apologised_for_before_a_slow_one_gets_a_filler(
    served: Deployment,
) -> None:
    """Who knows that there will be no answer does not wait for it; both by the same clock."""
    client = await joined(served, "at-once")
    served.providers.fault(stage="llm", kind="hang")
    filled = await first_sound(client, 5, FILLER, lines.reply(5))
    served.providers.fault(stage="llm", kind="status", count=None)
    apologised = await first_sound(client, 6, APOLOGY)
    served.providers.clear()
    assert apologised < filled / 2
    await ended_well(served, client, "at-once")


async def first_sound(client: RoomClient, id_: int, *texts: str) -> float:
    """Speak, wait until `texts` have been said; return the seconds from speech to sound."""
    spoken = await say(client, id_)
    for text in texts:
        await captioned(client, text)
    return min(at for at in client.agent_sound().sound_started if at > spoken) - spoken


@pytest.mark.full
async def test_a_model_that_hangs_for_ever_leaves_nobody_in_silence(served: Deployment) -> None:
    client = await joined(served, "hangs-for-ever")
    served.providers.fault(stage="llm", kind="hang", at="connect", count=None)
    await told(client, 5, FILLER, APOLOGY)
    await told(client, 6, FILLER, APOLOGY)
    await told(client, 7, FILLER, FAREWELL)
    await ended_for_good(served, client, "hangs-for-ever")


@pytest.mark.full
async def test_a_greeting_that_no_model_makes_is_said_all_the_same(served: Deployment) -> None:
    served.providers.fault(stage="llm", kind="status", count=2)
    await served.make_room("no-greeting")
    client = await served.client("no-greeting")
    await captioned(client, WELCOME)
    await converse(client, 5)
    session = await ended_well(served, client, "no-greeting")
    assert session["completeness"] == "complete"
    assert await said(served, "no-greeting", "ai") == [WELCOME, lines.reply(5)]


@pytest.mark.full
async def test_an_apology_is_cut_short_by_who_speaks_again(served: Deployment) -> None:
    """What was heard of it is an interrupted turn, and its caption says no more than that."""
    client = await joined(served, "cut-short")
    served.providers.fault(stage="llm", kind="status", count=2)
    await say(client, 5)
    await client.until(lambda c: any("sorry" in x.text for x in c.captions.values()))
    await converse(client, 6)
    captions = [caption.strip() for caption in client.agent_captions()]
    await ended_well(served, client, "cut-short")
    (cut,) = [turn for turn in await served.turns("cut-short") if turn["interrupted"]]
    assert APOLOGY.startswith(cut["text"])
    assert cut["text"] != APOLOGY
    assert cut["generated_text"] == APOLOGY
    assert cut["text"] in captions


@pytest.mark.full
@pytest.mark.parametrize("kind", ["status", "hang", "drop", "garbage"])
async def test_speech_that_cannot_be_made_is_apologised_for_from_a_recording(
    served: Deployment, kind: str
) -> None:
    """The words of the answer, which nobody heard, are no turn."""
    room = f"mute-{kind}"
    client = await joined(served, room)
    served.providers.fault(stage="tts", kind=kind, at="connect", count=None)
    await told(client, 5, APOLOGY)
    served.providers.clear()
    await converse(client, 6)
    await ended_well(served, client, room)
    assert (await said(served, room, "ai"))[-2:] == [APOLOGY, lines.reply(6)]
    assert await said(served, room, "client") == [lines.utterance(5), lines.utterance(6)]


@pytest.mark.full
async def test_a_voice_that_stays_dead_says_farewell_from_a_recording(served: Deployment) -> None:
    client = await joined(served, "dead-voice")
    served.providers.fault(stage="tts", kind="status", count=None)
    await told(client, 5, APOLOGY)
    await told(client, 6, APOLOGY)
    await told(client, 7, FAREWELL)
    session = await ended_for_good(served, client, "dead-voice")
    assert session["completeness"] == "complete"


@pytest.mark.full
async def test_a_voice_that_breaks_off_in_an_answer_is_apologised_for(served: Deployment) -> None:
    """What was heard of the answer is an interrupted turn."""
    client = await joined(served, "breaks-off")
    served.providers.fault(stage="tts", kind="hang", after=1, count=None)
    spoken = await say(client, 900)
    await captioned(client, APOLOGY)
    promise_kept(client, spoken)
    await ended_well(served, client, "breaks-off")
    turns = [turn for turn in await served.turns("breaks-off") if turn["role"] == "ai"]
    assert turns[-1]["text"] == APOLOGY
    assert turns[-2]["interrupted"]
    assert lines.reply(900).startswith(turns[-2]["text"])


@pytest.mark.full
async def test_a_recogniser_that_drops_in_an_utterance_keeps_the_words_before(
    served: Deployment,
) -> None:
    """What is known of the cut words is kept, what follows is heard, and the receipt says so."""
    client = await joined(served, "dropped")
    served.providers.fault(stage="stt", kind="drop")
    spoken = await say(client, 5)
    await client.until(lambda c: len(c.agent_captions()) > 1)
    promise_kept(client, spoken)
    await converse(client, 6)
    session = await ended_well(served, client, "dropped")
    heard = await said(served, "dropped", "client")
    assert heard[-1] == lines.utterance(6)
    assert lines.utterances_in(heard[0]) == [5]
    assert (session["completeness"], session["completeness_reason"]) == (
        "partial",
        "speech_cut_off",
    )


@pytest.mark.full
async def test_words_that_a_recogniser_swallows_are_asked_for_again(served: Deployment) -> None:
    """It is there, but it hears nothing: nobody knows but the voice activity detector."""
    client = await joined(served, "swallowed")
    served.providers.fault(stage="stt", kind="hang", at="result")
    served.providers.fault(stage="stt", kind="garbage", at="result")
    await told_unheard(client)
    await ended_well(served, client, "swallowed")


async def told_unheard(client: RoomClient) -> None:
    spoken = await client.speak(tones.encode(5, sample_rate=SAMPLE_RATE, duration=2.4))
    await client.until(lambda c: len(c.agent_captions()) > 1)
    promise_kept(client, spoken)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["status", "hang"])
async def test_a_recogniser_that_stays_away_ends_the_session_though_nobody_speaks(
    served: Deployment, kind: str
) -> None:
    """The connection is cut and never comes back: the client hears of it without a word."""
    room = f"deaf-{kind}"
    client = await joined(served, room)
    served.providers.fault(stage="stt", kind=kind, at="connect", count=None)
    served.providers.fault(stage="stt", kind="drop")
    await say(client, 5)
    session = await ended_for_good(served, client, room)
    assert session["completeness"] == "partial"
    assert "speech_cut_off" in session["completeness_reason"]


@pytest.mark.full
@pytest.mark.parametrize("kind", ["status", "hang"])
async def test_a_realtime_connection_that_stays_dead_ends_with_a_farewell(
    served: Deployment, kind: str
) -> None:
    room = f"realtime-{kind}"
    client = await joined(served, room, REALTIME)
    await converse(client, 5)
    served.providers.fault(stage="realtime", kind=kind, at="connect", count=None)
    served.providers.fault(stage="realtime", kind="drop")
    await say(client, 6)
    await ended_for_good(served, client, room)


@pytest.mark.full
async def test_a_realtime_reply_that_never_comes_is_apologised_for(served: Deployment) -> None:
    client = await joined(served, "realtime-hangs", REALTIME)
    served.providers.fault(stage="realtime", kind="hang")
    await told(client, 5, APOLOGY)
    await ended_well(served, client, "realtime-hangs")
    assert await said(served, "realtime-hangs", "client") == [lines.utterance(5)]


@pytest.fixture
def with_fallbacks(deployment: Deployment) -> Iterator[str]:
    """The name of an agent whose providers each have somebody who takes over."""
    worker = deployment.start_worker(
        "fallbacks",
        COACH_AGENT_NAME="fallbacks",
        COACH_STT_FALLBACKS="openai:spare-ear",
        COACH_LLM_FALLBACKS="openai:spare-mind",
        COACH_TTS_FALLBACKS="deepgram:spare-voice",
    )
    yield "fallbacks"
    deployment.stop_worker(worker)


PRIMARY = {"stt": "nova-3", "llm": "gpt-4.1-mini", "tts": "gpt-4o-mini-tts"}


@pytest.mark.full
@pytest.mark.parametrize("kind", ["status", "hang"])
async def test_another_provider_takes_over_from_a_dead_one(
    deployment: Deployment, with_fallbacks: str, kind: str
) -> None:
    """One after the other loses its primary; the conversation goes on, and its record says how."""
    room = f"takeover-{kind}"
    client = await joined(deployment, room, agent=with_fallbacks)
    primaries: dict[str, dict[str, Any]] = {
        stage: {"stage": stage, "model": model, "kind": kind, "at": "connect", "count": None}
        for stage, model in PRIMARY.items()
    }
    for id_, stage in ((5, "llm"), (6, "tts")):
        deployment.providers.fault(**primaries[stage])
        await told(client, id_, lines.reply(id_))
    deployment.providers.fault(**primaries["stt"])
    deployment.providers.fault(stage="stt", kind="drop", model="nova-3")
    before = len(client.agent_captions())
    await say(client, 7)
    await client.until(lambda c: len(c.agent_captions()) > before)
    await say(client, 8)
    await captioned(client, lines.reply(8))
    session = await ended_well(deployment, client, room)
    heard = await said(deployment, room, "client")
    # the words before it may come so late that they are of one turn with it
    assert lines.utterances_in(" ".join(heard))[-1] == 8
    assert heard[-1].endswith(lines.utterance(8))
    assert lines.reply(8) in await said(deployment, room, "ai")
    assert "provider_fallback" in await happened(deployment, session)
