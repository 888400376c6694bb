"""The stand-in through the unmodified plugins: Deepgram's STT, OpenAI's LLM and TTS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, llm, stt
from livekit.plugins import deepgram, openai

from agent.local.providers import Providers, ScriptedBrain, lines, serve
from agent.local.providers.tones import Code, Decoder, Kind, encode, silence

ONCE = APIConnectOptions(max_retry=0, timeout=5)
RATE = 16_000


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    async with await serve(ScriptedBrain(), control=True) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def fault(providers: Providers, http: aiohttp.ClientSession, **what: Any) -> None:
    async with http.post(f"{providers.url}/control", json=what) as response:
        assert response.status == 200, await response.text()


async def wire_log(providers: Providers, http: aiohttp.ClientSession) -> list[dict[str, Any]]:
    async with http.get(f"{providers.url}/control/log") as response:
        entries: list[dict[str, Any]] = await response.json()
        return entries


def frames(pcm: bytes, rate: int = RATE) -> Iterator[rtc.AudioFrame]:
    step = rate // 100 * 2
    for start in range(0, len(pcm) // step * step, step):
        yield rtc.AudioFrame(pcm[start : start + step], rate, 1, step // 2)


async def hear(
    providers: Providers, http: aiohttp.ClientSession, pcm: bytes, segments: int | None = 1
) -> list[stt.SpeechEvent]:
    """Return what the plugin makes of `pcm`, up to the end of so many segments.

    None: up to the end of the stream, which takes the plugin 5 s (its keep-alive sleeps).
    """
    plugin = deepgram.STT(api_key="none", base_url=providers.deepgram_url, http_session=http)
    stream = plugin.stream(conn_options=ONCE)
    for frame in frames(pcm):
        stream.push_frame(frame)
    stream.end_input()
    events: list[stt.SpeechEvent] = []
    try:
        async for event in stream:
            events.append(event)
            ended = [e for e in events if e.type == stt.SpeechEventType.END_OF_SPEECH]
            if len(ended) == segments:
                break
    finally:
        await stream.aclose()
    return events


def finals(events: list[stt.SpeechEvent]) -> list[stt.SpeechData]:
    kind = stt.SpeechEventType.FINAL_TRANSCRIPT
    return [event.alternatives[0] for event in events if event.type == kind]


def utterances(*ids: int) -> bytes:
    return b"".join(encode(id_, sample_rate=RATE) + silence(0.3, RATE) for id_ in ids)


def language_model(providers: Providers) -> openai.LLM:
    return openai.LLM(api_key="none", base_url=providers.openai_url, model="gpt-4.1-mini")


async def ask(providers: Providers, said: str) -> tuple[str, llm.CompletionUsage | None]:
    context = llm.ChatContext.empty()
    context.add_message(role="system", content="You are a coach.")
    context.add_message(role="user", content=said)
    text, usage = "", None
    async with language_model(providers).chat(chat_ctx=context, conn_options=ONCE) as stream:
        async for chunk in stream:
            text += (chunk.delta.content or "") if chunk.delta else ""
            usage = chunk.usage or usage
    return text.strip(), usage


async def speak(providers: Providers, text: str, model: str = "gpt-4o-mini-tts") -> bytes:
    plugin = openai.TTS(
        api_key="none", base_url=providers.openai_url, response_format="pcm", model=model
    )
    try:
        async with plugin.synthesize(text, conn_options=ONCE) as stream:
            return b"".join([bytes(event.frame.data) async for event in stream])
    finally:
        await plugin.aclose()


async def test_utterances_are_heard_with_their_text_confidence_and_word_times(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    events = await hear(providers, http, utterances(107, 42), 2)
    heard = finals(events)
    assert [data.text for data in heard] == [lines.utterance(107), lines.utterance(42)]
    assert [data.confidence for data in heard] == [0.97, 0.92]
    assert 0.0 <= heard[0].start_time < heard[0].end_time <= 0.85
    assert 1.0 <= heard[1].start_time < heard[1].end_time <= 1.95
    assert heard[0].words is not None
    assert [str(word) for word in heard[0].words] == lines.utterance(107).split()


async def test_interim_and_start_come_before_the_final_segment(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    events = [event.type for event in await hear(providers, http, utterances(5))]
    kinds = stt.SpeechEventType
    expected = [
        kinds.START_OF_SPEECH,
        kinds.INTERIM_TRANSCRIPT,
        kinds.FINAL_TRANSCRIPT,
        kinds.END_OF_SPEECH,
    ]
    assert [kind for kind in events if kind in expected] == expected


async def test_a_cut_utterance_is_heard_as_garbled(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    pcm = utterances(77)[:RATE]
    assert [data.text for data in finals(await hear(providers, http, pcm))] == [lines.GARBLED]


async def test_an_utterance_that_lacks_a_block_is_broken_and_one_said_twice_is_heard_twice(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    whole = encode(31, sample_rate=RATE, duration=2.4)
    block = len(whole) // 3
    lacking = whole[:block] + whole[2 * block :] + silence(0.3, RATE)
    twice = encode(8, sample_rate=RATE) * 2 + silence(0.3, RATE)
    heard = finals(await hear(providers, http, lacking + twice, 2))
    assert heard[0].text == f"{lines.utterance(31)} {lines.BROKEN}"
    assert heard[1].text == f"{lines.utterance(8)} {lines.utterance(8)}"


async def test_the_answer_follows_from_the_last_utterance(providers: Providers) -> None:
    text, usage = await ask(providers, f"{lines.utterance(3)} {lines.utterance(107)}")
    assert text == lines.reply(107)
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0


@pytest.mark.parametrize("model", ["gpt-4o-mini-tts", "tts-1"])
async def test_speech_carries_the_reply_in_its_tones(providers: Providers, model: str) -> None:
    """Both forms of the answer: server-sent events (gpt-4o-mini-tts) and raw bytes (tts-1)."""
    pcm = await speak(providers, lines.reply(107), model)
    codes = Decoder(24_000).feed(pcm + silence(0.1, 24_000))
    assert [(c.kind, c.id, c.block) for c in codes if isinstance(c, Code)] == [
        (Kind.REPLY, 107, block) for block in range(len(codes))
    ]
    assert 1.5 < len(pcm) / 48_000 < 2.5


async def test_two_streams_at_once_do_not_mix(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    streams = [
        hear(providers, http, utterances(*ids), None) for ids in ((11, 12, 13), (21, 22, 23))
    ]
    first, second = await asyncio.gather(*streams)
    assert [data.text for data in finals(first)] == [lines.utterance(n) for n in (11, 12, 13)]
    assert [data.text for data in finals(second)] == [lines.utterance(n) for n in (21, 22, 23)]
    log = [entry for entry in await wire_log(providers, http) if entry["event"] == "heard"]
    by_connection: dict[int, list[int]] = {}
    for entry in log:
        by_connection.setdefault(entry["connection"], []).extend(entry["ids"])
    assert sorted(by_connection.values()) == [[11, 12, 13], [21, 22, 23]]


async def test_a_schema_gets_a_summary_made_of_the_transcript_alone(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    schema = {
        "type": "object",
        "properties": {
            "summary": {"type": "string"},
            "key_topics": {"type": "array", "items": {"type": "string"}},
            "mood_start": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
    }
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    said = "client: I sleep badly.\nai: What keeps you awake?"
    body = {"model": "m", "messages": [{"role": "user", "content": said}], "response_format": form}
    async with http.post(f"{providers.openai_url}/chat/completions", json=body) as response:
        answer = json.loads((await response.json())["choices"][0]["message"]["content"])
    assert answer["key_topics"] == ["I sleep badly."]
    assert "2 turns" in answer["summary"]
    assert "“I sleep badly.”" in answer["summary"]
    assert answer["mood_start"] is None
