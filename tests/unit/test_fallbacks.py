"""Who takes over from whom is said in settings, and nobody waits as long as the plugins would."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import APIConnectionError, inference, llm, stt, tts
from livekit.plugins import deepgram, openai

import prompts
from agent import settings as all_settings
from agent.local.recordings import version_of
from agent.settings import ProviderModel, Settings, SettingsError
from agent.worker import fallbacks
from agent.worker.phrases import Phrase, Phrases, recording

KEYS = {"DEEPGRAM_API_KEY": "none", "OPENAI_API_KEY": "none"}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(**environment: str) -> Settings:
        for name, value in {**KEYS, **environment}.items():
            monkeypatch.setenv(name, value)
        return all_settings.load()

    return make


async def test_without_a_fallback_there_is_no_adapter(settings: Any) -> None:
    made = settings()
    activity = inference.VAD(model="silero")
    assert isinstance(fallbacks.make_stt(made, "en", activity), deepgram.STT)
    assert isinstance(fallbacks.make_llm(made), openai.LLM)
    assert isinstance(fallbacks.make_tts(made, "ash"), openai.TTS)


async def test_fallbacks_take_over_in_their_order(settings: Any) -> None:
    made = settings(
        COACH_STT_FALLBACKS="deepgram:nova-2, openai:whisper-1",
        COACH_LLM_FALLBACKS="openai:gpt-4o-mini",
        COACH_TTS_FALLBACKS="deepgram:aura-2-thalia-en,openai:tts-1",
    )
    assert made.stt_fallbacks == (
        ProviderModel("deepgram", "nova-2"),
        ProviderModel("openai", "whisper-1"),
    )
    hearing = fallbacks.make_stt(made, "en", inference.VAD(model="silero"))
    thinking, speaking = fallbacks.make_llm(made), fallbacks.make_tts(made, "ash")
    assert isinstance(hearing, stt.FallbackAdapter)
    assert isinstance(thinking, llm.FallbackAdapter)
    assert isinstance(speaking, tts.FallbackAdapter)
    assert [m.model for m in hearing._stt_instances[:2]] == ["nova-3", "nova-2"]
    assert [m.model for m in thinking._llm_instances] == ["gpt-4.1-mini", "gpt-4o-mini"]
    assert [m.model for m in speaking._tts_instances] == [
        "gpt-4o-mini-tts",
        "aura-2-thalia-en",
        "tts-1",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COACH_LLM_FALLBACKS", "gpt-4o-mini"),
        ("COACH_LLM_FALLBACKS", "deepgram:nova-2"),
        ("COACH_STT_FALLBACKS", "deepgram:"),
        ("COACH_TTS_FALLBACKS", "openai:tts-1,,"),
    ],
)
def test_a_fallback_that_is_none_is_said_in_one_message(
    settings: Any, name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=f"{name} is malformed: must be provider:model") as told:
        settings(**{name: value})
    assert len(told.value.problems) == 1


async def test_speech_that_does_not_come_is_given_up_after_the_settings_time(
    settings: Any,
) -> None:
    """The plugin asks its client to wait for 30 s."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        made = settings(
            OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1", COACH_TTS_TIMEOUT_SECONDS="0.1"
        )
        voice = fallbacks.make_tts(made, "ash")
        patience = fallbacks.connect_options(made).tts_conn_options
        stream = voice.synthesize("Hm", conn_options=patience)
        with pytest.raises(APIConnectionError):
            await asyncio.wait_for(stream.collect(), 10)
        assert len(held) > 1, "it is asked once more"
        for writer in held:
            writer.close()
        await voice.aclose()


@pytest.mark.parametrize("phrase", list(Phrase))
def test_a_recording_says_the_words_as_they_are_now(phrase: Phrase) -> None:
    """Changed words want `python -m agent.local.recordings`."""
    assert version_of(Path(recording(phrase))) == prompts.spoken(phrase).version
    assert Path(recording(phrase)).stat().st_size < 50_000


async def test_a_phrase_whose_own_voice_fails_is_the_recording() -> None:
    def broken() -> tts.TTS[Any]:
        raise RuntimeError

    phrases = Phrases(broken)
    frames = await phrases.frames(Phrase.APOLOGY, within=5)
    assert sum(frame.duration for frame in frames) > 1
    await phrases.aclose()
