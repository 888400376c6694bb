"""espeak-ng through its wheel, and the resampling of whole recordings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from agent.local.speech import MAX_CHARACTERS, SpeechError, resample, synthesize


def seconds(pcm: bytes, rate: int) -> float:
    return len(pcm) / 2 / rate


def test_speech_lasts_as_long_at_every_rate() -> None:
    spoken = {rate: synthesize("How are you today?", sample_rate=rate) for rate in (8_000, 48_000)}
    lengths = [seconds(pcm, rate) for rate, pcm in spoken.items()]
    assert lengths[0] == pytest.approx(lengths[1], abs=0.01)
    assert 0.5 < lengths[0] < 3
    assert all(np.abs(np.frombuffer(pcm, np.int16)).max() > 5_000 for pcm in spoken.values())


def test_fewer_words_a_minute_take_longer() -> None:
    slow, fast = (
        seconds(
            synthesize("one two three four five", sample_rate=16_000, words_per_minute=n), 16_000
        )
        for n in (90, 300)
    )
    assert slow > 1.5 * fast


def test_threads_at_once_each_get_their_own_words() -> None:
    texts = [f"this is sentence number {n} and some more" for n in range(12)]
    alone = [synthesize(text, sample_rate=16_000) for text in texts]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda text: synthesize(text, sample_rate=16_000), texts))
    lengths = [abs(len(a) - len(b)) for a, b in zip(alone, together, strict=True)]
    assert max(lengths) < 16_000 * 2 * 0.1


@pytest.mark.parametrize("text", ["", " ", "\0", "\udcff", "<speak>", "日本"])
def test_odd_texts_are_spoken_or_silent_but_no_error(text: str) -> None:
    assert len(synthesize(text, sample_rate=16_000)) % 2 == 0


def test_an_unknown_voice_and_a_text_too_long_are_refused() -> None:
    with pytest.raises(SpeechError, match="no voice"):
        synthesize("hello", sample_rate=16_000, voice="klingon-on-mars")
    with pytest.raises(SpeechError, match="longer than"):
        synthesize("a" * (MAX_CHARACTERS + 1), sample_rate=16_000)
    assert synthesize("hello", sample_rate=16_000)


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
def test_resampling_keeps_a_tone_and_adds_no_alias(rate: int) -> None:
    time = np.arange(22_050) / 22_050
    envelope = np.hanning(time.size)
    tone = (10_000 * envelope * np.sin(2 * np.pi * 1_000 * time)).astype(np.int16)
    high = (10_000 * envelope * np.sin(2 * np.pi * 9_500 * time)).astype(np.int16)
    expected = 10_000 * np.hanning(rate) * np.sin(2 * np.pi * 1_000 * np.arange(rate) / rate)
    assert np.abs(resample(tone, 22_050, rate) - expected).max() < 20
    if rate == 16_000:
        assert np.abs(resample(high, 22_050, rate)).max() < 20
