"""The stand-in's other voice and ear, unmodified plugins before them: Deepgram TTS, OpenAI STT."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError
from livekit.plugins import deepgram, openai

from agent.local.providers import Providers, ScriptedBrain, lines, serve
from agent.local.providers.faults import Fault, FaultKind, Stage
from agent.local.providers.tones import Code, Decoder, encode

ONCE = APIConnectOptions(max_retry=0, timeout=5)
RATE = 16_000


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    async with await serve(ScriptedBrain(), control=True) as server:
        yield server


@pytest.fixture
async def voice(providers: Providers) -> AsyncIterator[deepgram.TTS]:
    async with aiohttp.ClientSession() as http:
        made = deepgram.TTS(base_url=f"{providers.url}/v1/speak", api_key="none", http_session=http)
        yield made
        await made.aclose()


def said(pcm: bytes, rate: int) -> set[int]:
    decoder = Decoder(rate)
    marks = [*decoder.feed(pcm), *decoder.flush()]
    return {mark.id for mark in marks if isinstance(mark, Code)}


async def spoken(voice: deepgram.TTS, text: str) -> set[int]:
    """Return the ids in what a stream of `text` sounds like."""
    async with voice.stream(conn_options=ONCE) as stream:
        stream.push_text(text)
        stream.end_input()
        pieces = [event.frame async for event in stream]
    whole = rtc.combine_audio_frames(pieces)
    return said(bytes(whole.data), whole.sample_rate)


async def test_deepgrams_voice_speaks_in_a_stream_and_at_once(voice: deepgram.TTS) -> None:
    assert await spoken(voice, lines.reply(5)) == {5}
    once = await voice.synthesize(lines.reply(6), conn_options=ONCE).collect()
    assert said(bytes(once.data), once.sample_rate) == {6}


@pytest.mark.parametrize("kind", [FaultKind.STATUS, FaultKind.DROP, FaultKind.GARBAGE])
async def test_deepgrams_voice_fails_as_it_is_told_and_for_its_model_alone(
    providers: Providers, voice: deepgram.TTS, kind: FaultKind
) -> None:
    providers.wire.faults.add(Fault(stage=Stage.TTS, kind=kind, model="another"))
    assert await spoken(voice, lines.reply(5)) == {5}
    await voice.aclose()
    providers.wire.faults.add(Fault(stage=Stage.TTS, kind=kind, model=voice.model))
    with pytest.raises(APIError):
        await spoken(voice, lines.reply(5))


async def test_openais_ear_hears_a_recording(providers: Providers) -> None:
    ear = openai.STT(
        model="whisper-1", base_url=providers.openai_url, api_key="none", use_realtime=False
    )
    pcm = encode(5, sample_rate=RATE)
    frame = rtc.AudioFrame(pcm, RATE, 1, len(pcm) // 2)
    event = await ear.recognize(frame, conn_options=ONCE)
    assert event.alternatives[0].text == lines.utterance(5)
    await ear.aclose()
