"""The offline brain's hearing, in a process of its own: pocketsphinx, with the model in its wheel.

pocketsphinx holds Python's global lock while it decodes, a quarter of real time and more: in the
server's process it would stop every other session. So each ear has one of these. It is run by its
path and imports nothing of the project, so that it starts fast and stays small.

It reads requests from standard input (one byte of kind, four of length, the payload) and answers
each with one line of JSON, a list of events. It ends when standard input does.

| kind | payload | asks for |
|---|---|---|
| `A` | PCM16 mono at 16 kHz | what this lets it understand |
| `F` | none | what is pending, as final |

Events: `{"start"}` for the begin of speech, `{"text", "confidence", "words", "start", "end",
"final"}` for what was heard; words are `[text, start, end]`; times in seconds of the audio.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import IO, Any

from pocketsphinx import Decoder, Endpointer

RATE = 16_000
HEADER = struct.Struct(">cI")
MAX_PAYLOAD = 4 * 1024 * 1024
INTERIM_SECONDS = 0.5
_FRAMES_A_SECOND = 100


class Listener:
    """Finds speech in a stream and decodes it."""

    def __init__(self) -> None:
        # Without the second pass an end comes 0.2 s earlier, and no more words are wrong (of
        # seven sentences of espeak-ng's en-us at 130 to 150 words a minute: 0.40 against 0.49).
        self._decoder = Decoder(samprate=RATE, loglevel="FATAL", fwdflat=False)
        self._endpointer = Endpointer(sample_rate=RATE)
        self._audio = b""
        self._heard_seconds = 0.0
        self._past = 0.0
        """Where in the audio the endpointer began, which counts from there (seconds)."""
        self._speaking = False
        self._begun_at = 0.0
        self._interim_at = 0.0
        self._decoded = 0
        self._interim = ""

    def hear(self, pcm: bytes) -> list[dict[str, Any]]:
        """Return what `pcm` lets it understand."""
        self._heard_seconds += len(pcm) / (2 * RATE)
        size = self._endpointer.frame_bytes
        data = self._audio + pcm
        whole = len(data) // size * size
        self._audio = data[whole:]
        return [
            event
            for start in range(0, whole, size)
            for event in self._frame(self._endpointer.process(data[start : start + size]))
        ]

    def finish(self) -> list[dict[str, Any]]:
        """Return what is pending, as final; speech that goes on is a new piece."""
        if not self._speaking:
            return []
        rest = self._endpointer.end_stream(self._audio)
        if rest:
            self._decode(rest)
        events = self._end(self._endpointer.speech_end)
        self._audio = b""
        self._past, self._endpointer = self._heard_seconds, Endpointer(sample_rate=RATE)
        return events

    def _frame(self, speech: bytes | None) -> list[dict[str, Any]]:
        if speech is None:
            return []
        events = [] if self._speaking else self._begin()
        self._decode(speech)
        if not self._endpointer.in_speech:
            return events + self._end(self._endpointer.speech_end)
        seconds = self._decoded / (2 * RATE)
        if seconds - self._interim_at < INTERIM_SECONDS:
            return events
        self._interim_at = seconds
        return events + self._so_far(self._begun_at + seconds)

    def _decode(self, speech: bytes) -> None:
        self._decoder.process_raw(speech, False, False)
        self._decoded += len(speech)

    def _begin(self) -> list[dict[str, Any]]:
        self._speaking = True
        self._begun_at = self._past + self._endpointer.speech_start
        self._decoded, self._interim_at, self._interim = 0, 0.0, ""
        self._decoder.start_utt()
        return [{"start": round(self._begun_at, 3)}]

    def _so_far(self, end: float) -> list[dict[str, Any]]:
        hypothesis = self._decoder.hyp()
        text = hypothesis.hypstr if hypothesis else ""
        if not text or text == self._interim:
            return []
        self._interim = text
        return [self._heard(text, 0.0, [], end, final=False)]

    def _end(self, end: float) -> list[dict[str, Any]]:
        """Close the utterance; `end` is by the endpointer's count."""
        self._speaking = False
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        words = self._words()
        text = " ".join(word for word, _, _ in words)
        # The posterior is that of all words together: their geometric mean says more.
        sure = hypothesis.prob ** (1 / len(words)) if hypothesis and words else 0.0
        return [self._heard(text, sure, words, self._past + end, final=True)]

    def _words(self) -> list[tuple[str, float, float]]:
        return [
            (
                _spelled(segment.word.split("(")[0]),
                round(self._begun_at + segment.start_frame / _FRAMES_A_SECOND, 3),
                round(self._begun_at + (segment.end_frame + 1) / _FRAMES_A_SECOND, 3),
            )
            for segment in self._decoder.seg() or ()
            if segment.word[0] not in "<["
        ]

    def _heard(
        self, text: str, sure: float, words: list[Any], end: float, *, final: bool
    ) -> dict[str, Any]:
        return {
            "text": " ".join(_spelled(word) for word in text.split()),
            "confidence": round(min(1.0, max(0.0, sure)), 3),
            "words": words,
            "start": round(self._begun_at, 3),
            "end": round(end, 3),
            "final": final,
        }


def _spelled(word: str) -> str:
    """Return a word of the dictionary, which is all in small letters, as one writes it."""
    return "I" + word[1:] if word == "i" or word.startswith("i'") else word


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are none."""
    listener = Listener()
    while len(header := requests.read(HEADER.size)) == HEADER.size:
        kind, length = HEADER.unpack(header)
        if length > MAX_PAYLOAD:
            raise SystemExit("a request is too long")
        payload = requests.read(length)
        events = listener.hear(payload) if kind == b"A" else listener.finish()
        answers.write(json.dumps(events).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
