"""The tone code: what was sent is read back, and what was not sent is never read."""

from __future__ import annotations

import asyncio
import io
from itertools import pairwise

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from livekit import rtc
from livekit.agents import inference, vad

from agent.local.providers import lines
from agent.local.providers.tones import (
    BLOCK_SECONDS,
    GIVE_UP_SECONDS,
    ID_MAX,
    Code,
    Decoder,
    Garble,
    Kind,
    encode,
    encode_codes,
    silence,
)
from agent.local.speech import resample, synthesize

RATE = 16_000


def read(pcm: bytes, rate: int = RATE) -> list[Code | Garble]:
    decoder = Decoder(rate)
    return decoder.feed(pcm + silence(0.6, rate)) + decoder.flush()


def ids(marks: list[Code | Garble]) -> list[int | None]:
    return [mark.id if isinstance(mark, Code) else None for mark in marks]


def samples(pcm: bytes) -> npt.NDArray[np.int16]:
    return np.frombuffer(pcm, dtype=np.int16)


def clipped(values: npt.NDArray[np.float64]) -> bytes:
    return np.clip(values, -32768, 32767).astype(np.int16).tobytes()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, ID_MAX), st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100, 48_000]))
def test_every_id_is_read_back_at_every_rate(id_: int, rate: int) -> None:
    assert ids(read(silence(0.1, rate) + encode(id_, sample_rate=rate), rate)) == [id_]


def test_blocks_say_which_they_are_and_where_they_were() -> None:
    codes = read(silence(1, RATE) + encode(5, sample_rate=RATE, duration=2))
    assert all(isinstance(c, Code) and c.kind is Kind.UTTERANCE and c.id == 5 for c in codes)
    assert [(c.block, c.last) for c in codes if isinstance(c, Code)] == [
        (0, False),
        (1, False),
        (2, True),
    ]
    assert [c.start for c in codes] == pytest.approx([1.0, 1.8, 2.6], abs=0.05)
    assert [c.end for c in codes] == pytest.approx([1.8, 2.6, 3.4], abs=0.05)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40))
def test_pieces_of_any_size_read_the_same(sizes: list[int]) -> None:
    pcm = encode(107, sample_rate=RATE) + silence(0.3, RATE) + encode(8, sample_rate=RATE)
    decoder, heard, at = Decoder(RATE), [], 0
    while at < len(pcm):
        for size in sizes:
            heard += decoder.feed(pcm[at : at + size])
            at += size
    assert ids(heard) == [107, 8]


@pytest.mark.parametrize("through", [8_000, 16_000, 24_000, 44_100])
def test_resampling_does_no_harm(through: int) -> None:
    pcm = samples(silence(0.2, 48_000) + encode(901, sample_rate=48_000) + silence(0.2, 48_000))
    there = resample(pcm, 48_000, through)
    assert ids(read(resample(there, through, RATE).tobytes())) == [901]


@pytest.mark.parametrize("bit_rate", [12_000, 24_000, 48_000])
def test_opus_does_no_harm(bit_rate: int) -> None:
    sent = list(range(1, 15_600, 1_300))
    pcm = b"".join(encode(id_, sample_rate=48_000) + silence(0.2, 48_000) for id_ in sent)
    assert ids(read(through_opus(pcm, bit_rate), 48_000)) == sent


def through_opus(pcm: bytes, bit_rate: int) -> bytes:
    """Return 48 kHz `pcm` as it is after Opus for speech, as WebRTC uses it."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="ogg") as container:
        options = {"application": "voip"}
        stream = container.add_stream("libopus", rate=48_000, options=options, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(samples(pcm)[None, :], format="s16", layout="mono")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    buffer.seek(0)
    to_pcm = av.AudioResampler(format="s16", layout="mono", rate=48_000)
    with av.open(buffer, "r") as container:
        decoded = [f for frame in container.decode(audio=0) for f in to_pcm.resample(frame)]
    return b"".join(frame.to_ndarray().tobytes() for frame in decoded)


def test_noise_and_another_level_do_no_harm() -> None:
    noise = np.random.default_rng(7)
    for id_, level in ((5, 1.0), (700, 0.4), (15_000, 0.25)):
        pcm = samples(encode(id_, sample_rate=RATE)) * level
        noisy = clipped(pcm + noise.normal(0, 800 * level, pcm.size))
        assert ids(read(noisy)) == [id_]


def test_stretched_and_squeezed_audio_reads_the_same() -> None:
    """A jitter buffer drops and repeats whole milliseconds."""
    pcm = samples(encode(333, sample_rate=RATE))
    pieces = np.split(pcm, range(800, pcm.size, 800))
    stretched = np.concatenate([np.concatenate([piece, piece[-160:]]) for piece in pieces])
    squeezed = np.concatenate([piece[:-120] for piece in pieces])
    assert ids(read(stretched.tobytes())) == [333]
    assert ids(read(squeezed.tobytes())) == [333]


def test_a_short_dropout_does_no_harm() -> None:
    pcm = samples(encode(64, sample_rate=RATE)).copy()
    pcm[4_000:4_320] = 0
    assert ids(read(pcm.tobytes())) == [64]


@pytest.mark.parametrize("at", [0.05, 0.33, 0.4, 0.61, 0.78])
def test_a_stall_of_two_seconds_that_goes_on_where_it_was_does_no_harm(at: float) -> None:
    pcm, cut = encode(64, sample_rate=RATE), int(at * RATE) * 2
    assert ids(read(pcm[:cut] + silence(2, RATE) + pcm[cut:])) == [64]


def test_a_code_that_never_goes_on_is_given_up() -> None:
    decoder = Decoder(RATE)
    cut = encode(64, sample_rate=RATE)[: RATE // 2]
    assert decoder.feed(cut + silence(GIVE_UP_SECONDS - 0.5, RATE)) == []
    assert ids(decoder.feed(silence(0.7, RATE))) == [None]
    assert not decoder.busy


@settings(max_examples=60, deadline=None)
@given(st.integers(0, ID_MAX), st.floats(0.15, 0.85), st.booleans())
def test_a_cut_code_is_garbled_never_another(id_: int, where: float, head: bool) -> None:
    pcm = encode(id_, sample_rate=RATE)
    cut = int(len(pcm) // 2 * where) * 2
    assert ids(read(pcm[:cut] if head else pcm[cut:])) == [None]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, ID_MAX), st.integers(0, ID_MAX), st.floats(0, 0.7))
def test_overlapping_codes_never_read_as_a_third(first: int, second: int, offset: float) -> None:
    a = samples(encode(first, sample_rate=RATE)).astype(np.float64)
    b = samples(silence(offset, RATE) + encode(second, sample_rate=RATE)).astype(np.float64)
    mixed = np.zeros(max(a.size, b.size))
    mixed[: a.size] += a
    mixed[: b.size] += b
    assert set(ids(read(clipped(mixed)))) <= {None, first, second}


@pytest.mark.parametrize("place", range(1, 9))
def test_a_code_with_one_wrong_symbol_is_garbled(place: int) -> None:
    right, wrong = (samples(encode(id_, sample_rate=RATE)) for id_ in (107, 14_999))
    step = right.size // 10
    damaged = right.copy()
    damaged[place * step : (place + 1) * step] = wrong[8 * step : 9 * step]
    assert ids(read(damaged.tobytes())) == [None]


def test_overlapping_codes_show_as_garbled() -> None:
    a, b = (samples(encode(id_, sample_rate=RATE)).astype(np.float64) for id_ in (107, 4_242))
    late = np.concatenate([np.zeros(RATE // 4), b])
    early = np.concatenate([a, np.zeros(RATE // 4)])
    assert None in ids(read(clipped(early + late)))


def test_speech_and_noise_are_no_code() -> None:
    spoken = synthesize("I would like to talk about my sleep and about my work", sample_rate=RATE)
    noise = np.random.default_rng(3).normal(0, 3000, 5 * RATE)
    for pcm in (spoken, clipped(noise)):
        assert not [mark for mark in read(pcm) if isinstance(mark, Code)]


def test_the_voice_detector_of_livekit_takes_an_utterance_for_one_stretch_of_speech() -> None:
    pcm = silence(0.5, RATE) + encode(107, sample_rate=RATE, duration=2.4) + silence(1, RATE)
    kinds = asyncio.run(detected(pcm))
    assert kinds == [vad.VADEventType.START_OF_SPEECH, vad.VADEventType.END_OF_SPEECH]


@pytest.mark.parametrize("id_", [1, 107, 624, 9_999, ID_MAX])
def test_the_voice_detector_hears_every_short_utterance(id_: int) -> None:
    pcm = silence(0.5, RATE) + encode(id_, sample_rate=RATE) + silence(1, RATE)
    assert len(asyncio.run(detected(pcm))) == 2


async def detected(pcm: bytes) -> list[vad.VADEventType]:
    stream = inference.VAD(model="silero").stream()
    for start in range(0, len(pcm), 640):
        piece = pcm[start : start + 640]
        stream.push_frame(rtc.AudioFrame(piece, RATE, 1, len(piece) // 2))
    stream.end_input()
    events = [event.type async for event in stream]
    await stream.aclose()
    return [kind for kind in events if kind is not vad.VADEventType.INFERENCE_DONE]


@given(st.integers(0, ID_MAX))
def test_an_utterance_and_its_reply_carry_their_id_in_words(id_: int) -> None:
    assert lines.utterances_in(lines.utterance(id_)) == [id_]
    codes = lines.speech_codes(lines.reply(id_))
    assert {(code.kind, code.id) for code in codes} == {(Kind.REPLY, id_)}


def test_long_replies_last_over_ten_seconds_and_others_about_two() -> None:
    assert len(lines.speech_codes(lines.reply(900))) * BLOCK_SECONDS > 10
    assert 1 < len(lines.speech_codes(lines.reply(899))) * BLOCK_SECONDS < 3


def test_a_reply_spoken_sentence_by_sentence_gives_the_codes_of_the_whole() -> None:
    sentences = [f"{sentence}." for sentence in lines.reply(950).split(".") if sentence]
    parts = [code for sentence in sentences for code in lines.speech_codes(sentence)]
    assert parts == lines.speech_codes(lines.reply(950))
    assert [code.sentence for code in parts if code.last] == list(range(lines.LONG_SENTENCES))
    assert ids(read(encode_codes(parts, RATE))) == [950] * len(parts)


def test_any_text_can_be_spoken_and_read_as_other_speech() -> None:
    for text in ("", " ", "Hello there.", "héllo \udcff \0 " * 300):
        codes = lines.speech_codes(text)
        assert {code.kind for code in codes} <= {Kind.OTHER}
        places = [(code.sentence, code.block) for code in codes]
        assert all(before < after for before, after in pairwise(places))


def test_what_has_no_code_is_refused() -> None:
    with pytest.raises(ValueError, match="no tones"):
        encode(ID_MAX + 1, sample_rate=RATE)
    with pytest.raises(ValueError, match="cannot carry"):
        Decoder(4_000)
