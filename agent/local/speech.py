"""Spoken text without a provider: espeak-ng, from the wheel that carries its library and voices.

No system package is needed. espeak-ng keeps its state in globals, so one lock serialises all of it;
a sentence takes it a few milliseconds, yet call `synthesize` off the event loop all the same.
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from typing import Any

import espeakng_loader
import numpy as np
import numpy.typing as npt

# From espeak-ng's speak_lib.h.
_OUTPUT_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_UTF8 = 1
_RATE = 1
_NO_ERROR = 0

MAX_CHARACTERS = 10_000
"""Longer texts are refused: they would hold the lock for seconds."""

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)
_lock = threading.Lock()


class SpeechError(Exception):
    """espeak-ng cannot speak this."""


def synthesize(
    text: str, *, sample_rate: int, voice: str = "en", words_per_minute: int = 165
) -> bytes:
    """Return `text` spoken, as PCM16 mono at `sample_rate` Hz; nothing for an empty text.

    `voice` is one of espeak-ng's (`en`, `en-us`, `de`, …). Safe to call from any thread. Raises
    SpeechError for an unknown voice, and for a text longer than `MAX_CHARACTERS`.
    """
    if len(text) > MAX_CHARACTERS:
        raise SpeechError(f"the text is longer than {MAX_CHARACTERS} characters")
    with _lock:
        library, native_rate = _espeak()
        pcm = _spoken(library, text, voice, words_per_minute)
    return resample(pcm, native_rate, sample_rate).tobytes()


def resample(pcm: npt.NDArray[np.int16], from_rate: int, to_rate: int) -> npt.NDArray[np.int16]:
    """Return a whole recording at another rate (Hz), without aliases: its spectrum, cut or padded.

    For recordings that begin and end in silence: the transform takes the signal as periodic.
    """
    if from_rate == to_rate or pcm.size == 0:
        return pcm
    length = round(pcm.size * to_rate / from_rate)
    spectrum = np.fft.rfft(pcm)
    spectrum = np.pad(spectrum, (0, max(0, length // 2 + 1 - spectrum.size)))[: length // 2 + 1]
    samples = np.fft.irfft(spectrum, length) * (length / pcm.size)
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


@cache
def _espeak() -> tuple[Any, int]:
    """Return the library, initialised once, and the rate (Hz) at which it speaks."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, data, _DONT_EXIT)
    if rate <= 0:
        raise SpeechError("espeak-ng does not find its voices")
    return library, rate


def _spoken(library: Any, text: str, voice: str, rate: int) -> npt.NDArray[np.int16]:
    """Return what espeak-ng makes of `text`, at its own rate. Call under the lock."""
    chunks: list[bytes] = []

    def collect(samples: Any, count: int, _events: Any) -> int:
        if count > 0:
            chunks.append(ctypes.string_at(samples, count * 2))
        return 0

    callback = _Callback(collect)
    if library.espeak_SetVoiceByName(voice.encode()) != _NO_ERROR:
        raise SpeechError(f"espeak-ng has no voice {voice!r}")
    library.espeak_SetParameter(_RATE, rate, 0)
    library.espeak_SetSynthCallback(callback)
    encoded = text.replace("\0", " ").encode(errors="replace")
    library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded) + 1), 0, 0, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    return np.frombuffer(b"".join(chunks), dtype=np.int16)
