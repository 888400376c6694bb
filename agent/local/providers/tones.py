"""Speech that says which speech it is: a code of tones over a voice, made and read here.

In tests the stand-in must hear which utterance it was sent from the audio alone, so that speech
that was lost, doubled, cut, overlapped or given to the wrong speaker shows. An utterance is one or
more blocks of 0.8 s. A block is ten symbols of 80 ms: START, eight digits, END:

    kind and last · id (3) · sentence · block · checksum (2)

- A symbol is two tones out of eight (1.3 to 2.7 kHz: inside what Opus keeps, and what a telephone
  would). 28 pairs: START, END, and 26 for the digits.
- A digit (base 25) is coded as the step from the symbol before it, so that no symbol follows
  itself: no clock is needed, and a jitter buffer that stretches or squeezes the audio does no harm.
- Under the tones a voice (espeak-ng, cut off below the tones' band) speaks: without it the voice
  activity detector takes tones for what they are, no speech. With it, it fires all through.
- Two codes at once leave four tones where two are valid: nobody is heard, rather than somebody.

`encode` makes a client's utterance, `encode_codes` any sequence of blocks; `Decoder` reads PCM in
pieces of any size and gives `Code` for a whole block and `Garble` for what was a code once.
What ids mean in words is in `lines.py`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

from agent.local.speech import synthesize

SYMBOL_SECONDS = 0.08
TONES = tuple(range(1300, 2701, 200))
"""Hz."""
PAIRS = tuple(combinations(range(len(TONES)), 2))
START, END = PAIRS.index((0, 7)), PAIRS.index((1, 6))
DIGITS = tuple(n for n in range(len(PAIRS)) if n not in (START, END))
BASE = len(DIGITS) - 1
ID_MAX = BASE**3 - 1
BLOCK_SECONDS = SYMBOL_SECONDS * 10
PAYLOAD = 8

_VOICE = "Now we are rowing along a lonely river, away we are rowing, you and me and all our men."
_VOICE_CUTOFF = 1100
_VOICE_ONSET = 0.05
_VOICE_RMS = 0.12
_TONE_AMPLITUDE = 0.12
_RAMP_SECONDS = 0.006

_WINDOW_SECONDS = 0.032
_HOP_SECONDS = 0.008
_QUIET_AMPLITUDE = 0.015
"""A tone weaker than this is none: 18 dB below what `encode` makes."""
_APART = 10 ** (6 / 20)
"""How much stronger the second tone must be than the third; also how even the two may be, x2."""
_AGREEING_WINDOWS = 3
_STRAY_SYMBOLS = 3
"""Fewer digits than this, without START and END, are a coincidence in other sounds."""
_NONE, _QUIET = -1, -2

GIVE_UP_SECONDS = 3.0
"""A begun code that is followed by this much silence is garbled. Long: on a busy machine WebRTC was
seen to fall silent in the middle of speech for over 2 s, and to go on where it was."""


class Kind(IntEnum):
    """What a code stands for."""

    UTTERANCE = 0
    REPLY = 1
    OTHER = 2
    """Text that is no reply of the script; its id is a hash of it."""


@dataclass(frozen=True)
class Code:
    """One block: which speech it is, which part of it, and where it was heard (seconds)."""

    kind: Kind
    id: int
    sentence: int = 0
    block: int = 0
    last: bool = True
    """Whether it is the last block of its sentence."""
    start: float = 0.0
    end: float = 0.0


@dataclass(frozen=True)
class Garble:
    """What was a code once: cut, overlapped or damaged."""

    start: float
    end: float


def encode(utterance_id: int, *, sample_rate: int, duration: float = BLOCK_SECONDS) -> bytes:
    """Return a client's utterance as PCM16 mono, at least `duration` seconds of whole blocks."""
    count = max(1, math.ceil(duration / BLOCK_SECONDS - 1e-9))
    return encode_codes(sentence_codes(Kind.UTTERANCE, utterance_id, count), sample_rate)


def sentence_codes(kind: Kind, id_: int, count: int, sentence: int = 0) -> list[Code]:
    """Return the `count` blocks of one sentence."""
    return [Code(kind, id_, sentence, block, block == count - 1) for block in range(count)]


def encode_codes(codes: Sequence[Code], sample_rate: int) -> bytes:
    """Return `codes` as PCM16 mono, one after the other; raises ValueError for what has no code."""
    if not codes:
        return b""
    tones = np.concatenate([_tones(symbol, sample_rate) for c in codes for symbol in _symbols(c)])
    voice = np.resize(_voice(sample_rate), tones.size)
    return (np.clip(tones + voice, -1, 1) * 32767).astype("<i2").tobytes()


def silence(seconds: float, sample_rate: int) -> bytes:
    """Return that much silence as PCM16 mono."""
    return bytes(2 * round(seconds * sample_rate))


def _symbols(code: Code) -> list[int]:
    if not (0 <= code.id <= ID_MAX and 0 <= code.sentence < BASE and 0 <= code.block < BASE):
        raise ValueError(f"no tones for {code}")
    digits = [
        code.kind * 2 + code.last,
        code.id // BASE**2,
        code.id // BASE % BASE,
        code.id % BASE,
        code.sentence,
        code.block,
    ]
    symbols, previous = [START], 0
    for digit in digits + _checksum(digits):
        previous = (previous + 1 + digit) % len(DIGITS)
        symbols.append(DIGITS[previous])
    return [*symbols, END]


def _checksum(digits: Iterable[int]) -> list[int]:
    value = zlib.crc32(bytes(digits)) % BASE**2
    return [value // BASE, value % BASE]


@cache
def _tones(symbol: int, sample_rate: int) -> npt.NDArray[np.float64]:
    time = np.arange(round(SYMBOL_SECONDS * sample_rate)) / sample_rate
    waves = sum(np.sin(2 * np.pi * TONES[tone] * time) for tone in PAIRS[symbol])
    ramp = np.minimum(time, time[::-1]) / _RAMP_SECONDS
    shaped: npt.NDArray[np.float64] = _TONE_AMPLITUDE * waves * np.minimum(1, ramp)
    return shaped


@cache
def _voice(sample_rate: int) -> npt.NDArray[np.float64]:
    """Return the voice under the tones: nothing of it reaches into the tones' band."""
    spoken = np.frombuffer(synthesize(_VOICE, sample_rate=sample_rate), dtype="<i2") / 32768
    loud = np.flatnonzero(np.abs(spoken) > _VOICE_ONSET)
    spoken = spoken[loud[0] : loud[-1]]
    spectrum = np.fft.rfft(spoken)
    spectrum[np.fft.rfftfreq(spoken.size, 1 / sample_rate) > _VOICE_CUTOFF] = 0
    low = np.fft.irfft(spectrum, spoken.size)
    voice: npt.NDArray[np.float64] = low * (_VOICE_RMS / np.sqrt(np.mean(low**2)))
    return voice


class Decoder:
    """Reads codes from PCM16 mono at `sample_rate` Hz, pushed in pieces of any size."""

    def __init__(self, sample_rate: int) -> None:
        if sample_rate < 2 * TONES[-1]:
            raise ValueError(f"{sample_rate} Hz cannot carry {TONES[-1]} Hz")
        self._rate = sample_rate
        self._hop = round(_HOP_SECONDS * sample_rate)
        self._window = round(_WINDOW_SECONDS * sample_rate)
        self._filters = _filters(self._window, sample_rate)
        self._samples = np.empty(0, dtype=np.float32)
        self._odd = b""
        self._position = 0
        self._run = (_QUIET, 0)
        self._accepted = _NONE
        self._symbols: list[int] = []
        self._begun_at = 0.0
        self._tone_at = 0.0

    @property
    def seconds(self) -> float:
        """How much audio was read."""
        return self._position / self._rate

    @property
    def quiet_seconds(self) -> float:
        """For how long no tone was heard."""
        return self.seconds - self._tone_at

    @property
    def busy(self) -> bool:
        """Whether a code has begun and not ended."""
        return bool(self._symbols)

    def feed(self, pcm: bytes) -> list[Code | Garble]:
        """Return what `pcm` completes."""
        data = self._odd + pcm
        self._odd = data[len(data) // 2 * 2 :]
        fresh = np.frombuffer(data, dtype="<i2", count=len(data) // 2).astype(np.float32) / 32768
        self._samples = np.concatenate([self._samples, fresh])
        count = (self._samples.size - self._window) // self._hop + 1
        if count <= 0:
            return []
        heard = [mark for symbol in self._classify(count) for mark in self._step(symbol)]
        self._samples = self._samples[count * self._hop :]
        return heard

    def flush(self) -> list[Code | Garble]:
        """Return what a code begun and not ended comes to, now that no more audio follows."""
        return self._close()

    def _classify(self, count: int) -> list[int]:
        """Return, window by window, the symbol heard, `_NONE` or `_QUIET`."""
        windows = np.lib.stride_tricks.sliding_window_view(self._samples, self._window)
        strengths = np.abs(windows[:: self._hop][:count] @ self._filters)
        order = np.argsort(strengths, axis=1)
        ranked = np.take_along_axis(strengths, order, axis=1)
        third, second, first = ranked[:, -3], ranked[:, -2], ranked[:, -1]
        clear = (second > _APART * third) & (first < _APART**2 * second)
        low, high = np.sort(order[:, -2:], axis=1).T
        symbols = np.where(clear & (second >= _QUIET_AMPLITUDE), _PAIR_INDEX[low, high], _NONE)
        return [int(s) for s in np.where(first < _QUIET_AMPLITUDE, _QUIET, symbols)]

    def _step(self, symbol: int) -> list[Code | Garble]:
        self._position += self._hop
        if symbol == _QUIET:
            self._run = (_QUIET, 0)
            return self._close() if self.busy and self.quiet_seconds >= GIVE_UP_SECONDS else []
        self._tone_at = self.seconds
        self._run = (symbol, self._run[1] + 1 if symbol == self._run[0] else 1)
        if symbol == _NONE or self._run[1] != _AGREEING_WINDOWS or symbol == self._accepted:
            return []
        return self._accept(symbol)

    def _accept(self, symbol: int) -> list[Code | Garble]:
        self._accepted = symbol
        heard = self._close() if symbol == START else []
        if not self._symbols:
            self._begun_at = max(0.0, self.seconds - _AGREEING_WINDOWS * _HOP_SECONDS)
        self._symbols.append(symbol)
        return heard + (self._close() if symbol == END else [])

    def _close(self) -> list[Code | Garble]:
        """Return what the symbols so far come to, and begin anew."""
        symbols, self._symbols = self._symbols, []
        if symbols and symbols[-1] != END:
            self._accepted = _NONE
        if len(symbols) < _STRAY_SYMBOLS and not {START, END} & set(symbols):
            return []
        rest = SYMBOL_SECONDS - _AGREEING_WINDOWS * _HOP_SECONDS
        return [_read(symbols, self._begun_at, self._tone_at + rest)]


def _read(symbols: list[int], start: float, end: float) -> Code | Garble:
    """Return the code that `symbols` are, START and END included."""
    if len(symbols) != PAYLOAD + 2 or symbols[0] != START or symbols[-1] != END:
        return Garble(start, end)
    places = [0, *(DIGITS.index(s) if s in DIGITS else 0 for s in symbols[1:-1])]
    digits = [(b - a - 1) % len(DIGITS) for a, b in pairwise(places)]
    head, big, middle, small, sentence, block = digits[:6]
    if _checksum(digits[:6]) != digits[6:] or head // 2 not in list(Kind):
        return Garble(start, end)
    id_ = (big * BASE + middle) * BASE + small
    return Code(Kind(head // 2), id_, sentence, block, bool(head % 2), start, end)


def _filters(window: int, sample_rate: int) -> npt.NDArray[np.complex64]:
    """Return a Hann-windowed filter for each tone; it gives the tone's amplitude (0 to 1)."""
    shape = np.hanning(window)
    time = np.arange(window)[:, None] / sample_rate
    waves = np.exp(-2j * np.pi * time * np.array(TONES)[None, :])
    filters: npt.NDArray[np.complex64] = (shape[:, None] * waves * 2 / shape.sum()).astype(
        np.complex64
    )
    return filters


def _pair_index() -> npt.NDArray[np.int64]:
    index = np.full((len(TONES), len(TONES)), _NONE)
    for number, (low, high) in enumerate(PAIRS):
        index[low, high] = number
    return index


_PAIR_INDEX = _pair_index()
