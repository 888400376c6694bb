"""The offline brain through the unmodified plugins: it needs the group `local` (pocketsphinx)."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import Any

import aiohttp
import psutil
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, stt
from livekit.plugins import deepgram, openai
from livekit.plugins.openai import realtime

from agent.local.providers import Providers, serve
from agent.local.providers.offline import MAX_EARS, OfflineBrain
from agent.local.speech import synthesize

ONCE = APIConnectOptions(max_retry=0, timeout=10)


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    async with await serve(OfflineBrain()) as server:
        yield server
    assert [
        child for child in psutil.Process().children() if "hearing" in str(_command(child))
    ] == []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@cache  # espeak-ng makes its noise anew each time, which is enough to hear other words
def spoken(text: str, rate: int) -> list[rtc.AudioFrame]:
    pcm = bytes(rate) + synthesize(text, sample_rate=rate, voice="en-us", words_per_minute=140)
    pcm += bytes(2 * rate)
    pieces = (pcm[start : start + rate // 5] for start in range(0, len(pcm), rate // 5))
    return [rtc.AudioFrame(piece, rate, 1, len(piece) // 2) for piece in pieces]


async def hear(
    providers: Providers, http: aiohttp.ClientSession, text: str
) -> list[tuple[stt.SpeechEventType, stt.SpeechData | None]]:
    plugin = deepgram.STT(api_key="none", base_url=providers.deepgram_url, http_session=http)
    stream = plugin.stream(conn_options=ONCE)
    for frame in spoken(text, 16_000):
        stream.push_frame(frame)
    stream.end_input()
    events = []
    async for event in stream:
        events.append((event.type, event.alternatives[0] if event.alternatives else None))
        if event.type == stt.SpeechEventType.END_OF_SPEECH:
            break
    await stream.aclose()
    return events


def finals(events: list[tuple[stt.SpeechEventType, stt.SpeechData | None]]) -> list[str]:
    return [d.text for kind, d in events if d and kind == stt.SpeechEventType.FINAL_TRANSCRIPT]


async def test_speech_is_heard_roughly_with_interims_confidence_and_word_times(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    events = await hear(providers, http, "I want to feel better in the morning")
    kinds = [kind for kind, _ in events]
    assert stt.SpeechEventType.INTERIM_TRANSCRIPT in kinds
    final = next(data for kind, data in events if kind == stt.SpeechEventType.FINAL_TRANSCRIPT)
    assert final is not None
    assert {"want", "feel", "better"} & set(final.text.split())
    assert 0 < final.confidence < 1
    assert final.words is not None
    assert [str(word) for word in final.words] == final.text.split()
    assert 0.3 < final.start_time < 1.5 < final.end_time < 4


async def test_two_streams_hear_at_once_and_do_not_mix(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    texts = ("I want to feel better in the morning", "my work is hard this week")
    alone = [finals(await hear(providers, http, text)) for text in texts]
    together = await asyncio.gather(*(hear(providers, http, text) for text in texts))
    assert [finals(events) for events in together] == alone
    assert alone[0] != alone[1]


async def test_a_stream_too_many_is_refused_and_a_closed_one_makes_room(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    brain = providers.wire.brain
    ears = [brain.listen(16_000) for _ in range(MAX_EARS)]
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(providers.deepgram_url)
    assert caught.value.status == 400
    await asyncio.gather(*(ear.aclose() for ear in ears))
    async with http.ws_connect(providers.deepgram_url):
        pass


async def test_speech_is_made_for_the_voice_plugin(providers: Providers) -> None:
    plugin = openai.TTS(api_key="none", base_url=providers.openai_url, response_format="pcm")
    async with plugin.synthesize("What matters most to you?", conn_options=ONCE) as stream:
        frames = [event.frame async for event in stream]
    assert {frame.sample_rate for frame in frames} == {24_000}
    assert 1 < sum(frame.duration for frame in frames) < 4
    await plugin.aclose()


def first_of(coming: asyncio.Future[Any]) -> Callable[[Any], None]:
    def note(event: Any) -> None:
        if not coming.done():
            coming.set_result(event)

    return note


async def test_realtime_hears_and_answers(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    model = realtime.RealtimeModel(
        api_key="none", base_url=providers.openai_url, http_session=http, conn_options=ONCE
    )
    session = model.session()
    heard: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    made: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    session.on("input_audio_transcription_completed", first_of(heard))
    session.on("generation_created", first_of(made))
    for frame in spoken("I want to feel better", 24_000):
        session.push_audio(frame)
    assert (await asyncio.wait_for(heard, 10)).transcript
    generation = await asyncio.wait_for(made, 10)
    async for message in generation.message_stream:
        text = "".join([str(piece) async for piece in message.text_stream])
        seconds = sum([frame.duration async for frame in message.audio_stream])
        assert text.startswith("I heard:")
        assert seconds > 1
    await session.aclose()


COMMAND = (sys.executable, "-m", "agent.local.providers", "--brain")


async def test_as_a_process_it_says_its_urls_and_ends_when_told() -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "offline", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    urls = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{urls['openai']}/models") as response,
        http.get(f"{urls['url']}/control/log") as control,
    ):
        assert (await response.json())["data"][0]["id"] == "offline"
        assert control.status == 404
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_as_a_process_it_ends_when_its_parent_is_killed() -> None:
    script = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen({[*COMMAND, 'scripted']!r}, stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode(), flush=True)\n"
        "child.wait()\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = psutil.Process(json.loads(await asyncio.wait_for(parent.stdout.readline(), 20))["pid"])
    parent.kill()
    await parent.wait()
    await asyncio.to_thread(child.wait, 10)
    assert not child.is_running()


async def test_a_taken_port_is_said_in_one_line() -> None:
    async with await serve(OfflineBrain()) as server:
        port = server.url.rsplit(":", 1)[1]
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "offline", "--port", port, stderr=asyncio.subprocess.PIPE
        )
        _, error = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert error.decode().startswith("the providers' stand-in cannot listen")
    assert len(error.splitlines()) == 1
