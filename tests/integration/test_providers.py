"""The stand-in through the unmodified plugins: Deepgram's STT, OpenAI's LLM and TTS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, APIStatusError, llm, stt
from livekit.plugins import deepgram, openai

from agent.local.providers import Providers, ScriptedBrain, lines, serve
from agent.local.providers.tones import Code, Decoder, Kind, encode, silence

ONCE = APIConnectOptions(max_retry=0, timeout=5)
RATE = 16_000


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
    providers: Providers,
    http: aiohttp.ClientSession,
    pcm: bytes,
    segments: int | None = 1,
    *,
    end: bool = True,
) -> list[stt.SpeechEvent]:
    """Return what the plugin makes of `pcm`, up to the end of so many segments.

    None: up to the end of the stream, which takes the plugin 5 s (its keep-alive sleeps). Without
    an `end` of the input a connection that closes is an error to the plugin.
    """
    plugin = deepgram.STT(api_key="none", base_url=providers.deepgram_url, http_session=http)
    stream = plugin.stream(conn_options=ONCE)
    for frame in frames(pcm):
        stream.push_frame(frame)
    if end:
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


async def test_speech_without_an_utterance_is_answered_without_one(providers: Providers) -> None:
    assert (await ask(providers, lines.GARBLED))[0] == lines.UNHEARD


@pytest.mark.parametrize("kind", ["drop", "garbage", "status"])
async def test_a_broken_language_model_is_seen_and_the_next_request_is_well(
    providers: Providers, http: aiohttp.ClientSession, kind: str
) -> None:
    await fault(providers, http, stage="llm", kind=kind, status=429)
    with pytest.raises((APIConnectionError, APIStatusError)) as caught:
        await ask(providers, lines.utterance(3))
    if kind == "status":
        assert isinstance(caught.value, APIStatusError)
        assert caught.value.status_code == 429
    assert (await ask(providers, lines.utterance(3)))[0] == lines.reply(3)


@pytest.mark.parametrize("kind", ["drop", "status"])
async def test_a_broken_voice_is_seen_and_the_next_request_is_well(
    providers: Providers, http: aiohttp.ClientSession, kind: str
) -> None:
    await fault(providers, http, stage="tts", kind=kind, at="connect")
    with pytest.raises((APIConnectionError, APIStatusError)):
        await speak(providers, lines.reply(3))
    assert len(await speak(providers, lines.reply(3))) > RATE


@pytest.mark.parametrize(
    "what",
    [
        {"kind": "status"},
        {"kind": "drop"},
        {"kind": "drop", "at": "connect", "count": 2},  # aiohttp itself tries twice
    ],
)
async def test_a_broken_recogniser_is_seen_and_the_next_stream_is_well(
    providers: Providers, http: aiohttp.ClientSession, what: dict[str, Any]
) -> None:
    await fault(providers, http, stage="stt", **what)
    with pytest.raises((APIConnectionError, APIStatusError)):
        await hear(providers, http, utterances(3), end=False)
    assert finals(await hear(providers, http, utterances(3)))[0].text == lines.utterance(3)


async def test_a_segment_of_garbage_is_lost_and_the_next_is_heard(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    await fault(providers, http, stage="stt", kind="garbage", after=1)
    heard = finals(await hear(providers, http, utterances(1, 2, 3), 2))
    assert [data.text for data in heard] == [lines.utterance(1), lines.utterance(3)]


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
async def test_a_hang_lasts_until_the_client_gives_up(
    providers: Providers, http: aiohttp.ClientSession, stage: str
) -> None:
    await fault(providers, http, stage=stage, kind="hang")
    work = {
        "stt": hear(providers, http, utterances(3)),
        "llm": ask(providers, lines.utterance(3)),
        "tts": speak(providers, lines.reply(3)),
    }
    hung = work.pop(stage)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hung, 0.5)
    await asyncio.gather(*work.values())


async def test_a_delay_comes_before_the_answer_and_once(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    await fault(providers, http, stage="llm", kind="delay", seconds=600)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(providers, lines.utterance(3)), 0.5)
    await ask(providers, lines.utterance(3))


async def test_faults_are_counted_down_listed_and_ended(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    await fault(providers, http, stage="llm", kind="status", after=1, count=2)
    await ask(providers, lines.utterance(1))
    with pytest.raises(APIStatusError):
        await ask(providers, lines.utterance(1))
    async with http.get(f"{providers.url}/control") as response:
        assert [(f["after"], f["count"]) for f in await response.json()] == [(0, 1)]
    async with http.delete(f"{providers.url}/control") as response:
        assert await response.json() == []
    await ask(providers, lines.utterance(1))


@pytest.mark.parametrize(
    "body", [b"{", b"7", b'{"stage": "llm"}', b'[{"stage": "llm", "kind": "delay", "x": 1}]']
)
async def test_a_malformed_fault_is_refused(
    providers: Providers, http: aiohttp.ClientSession, body: bytes
) -> None:
    async with http.post(f"{providers.url}/control", data=body) as response:
        assert response.status == 400


async def test_control_is_closed_unless_asked_for(http: aiohttp.ClientSession) -> None:
    async with (
        await serve(ScriptedBrain()) as server,
        http.get(f"{server.url}/control/log") as response,
    ):
        assert response.status == 404
        assert server.wire.log.since(0) == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", b"{"),
        ("chat/completions", b"[]"),
        ("chat/completions", b"[" * 100_000),
        ("chat/completions", b'{"messages": []}'),
        ("chat/completions", b'{"messages": [1]}'),
        ("audio/speech", b'{"input": "", "response_format": "pcm"}'),
        ("audio/speech", b'{"input": 5, "response_format": "pcm"}'),
        ("audio/speech", b'{"input": "hello", "response_format": "mp3"}'),
        ("audio/speech", b'{"input": "' + b"a" * 5_000 + b'", "response_format": "pcm"}'),
    ],
)
async def test_a_malformed_request_gets_an_error_as_openai_words_it(
    providers: Providers, http: aiohttp.ClientSession, path: str, body: bytes
) -> None:
    async with http.post(f"{providers.openai_url}/{path}", data=body) as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_a_schema_that_is_none_gets_an_error(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": 7}}
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": "x"}],
        "response_format": form,
    }
    for stream in (True, False):
        body["stream"] = stream
        async with http.post(f"{providers.openai_url}/chat/completions", json=body) as response:
            assert response.status == 400


async def test_a_body_too_long_is_refused(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    async with http.post(f"{providers.openai_url}/audio/speech", data=bytes(5 << 20)) as response:
        assert response.status == 413


@pytest.mark.parametrize("query", ["sample_rate=x", "sample_rate=1", "encoding=opus", "channels=2"])
async def test_a_stream_that_cannot_be_heard_is_refused(
    providers: Providers, http: aiohttp.ClientSession, query: str
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(f"{providers.deepgram_url}?{query}")
    assert caught.value.status == 400
    async with http.get(f"{providers.deepgram_url}?{query}") as response:
        assert response.status == 400


@pytest.mark.parametrize("frame", ["{", "[]", "7", '{"type": "Nonsense"}', "[" * 100_000])
async def test_a_malformed_frame_ends_the_stream_with_its_reason(
    providers: Providers, http: aiohttp.ClientSession, frame: str
) -> None:
    async with http.ws_connect(providers.deepgram_url) as socket:
        await socket.send_str(frame)
        message = await socket.receive(timeout=5)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert (socket.close_code, str(message.extra)[:9]) == (1008, "DATA-0000")
    assert finals(await hear(providers, http, utterances(3)))[0].text == lines.utterance(3)


async def test_pieces_of_odd_length_are_heard(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(f"{providers.deepgram_url}?sample_rate=16000") as socket:
        pcm = utterances(107)
        for start in range(0, len(pcm), 1_001):
            await socket.send_bytes(pcm[start : start + 1_001])
        await socket.send_str('{"type": "Finalize"}')
        results = [await socket.receive_json(timeout=5) for _ in range(3)]
        assert results[-1]["channel"]["alternatives"][0]["transcript"] == lines.utterance(107)
