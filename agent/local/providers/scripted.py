"""The brain for tests: hears what the tones say, answers by the script, speaks in tones.

No waits of its own: a segment is final as soon as its codes are complete and 100 ms without tones
follow (or the client asks for it). A cut one is final, and garbled or broken, after 3 s of silence,
when the next begins, or at the end of the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import pairwise

from agent.local.providers import lines
from agent.local.providers.brain import SPEECH_RATE, Heard, Message, Speaking, spread
from agent.local.providers.tones import GIVE_UP_SECONDS, Code, Decoder, Garble, Kind, encode_codes

ENDPOINT_SECONDS = 0.1
_CHUNK_BYTES = SPEECH_RATE * 2 // 10
"""100 ms of speech."""


class ScriptedEar:
    """Reads utterances from tones."""

    def __init__(self, sample_rate: int) -> None:
        self._decoder = Decoder(sample_rate)
        self._marks: list[Code | Garble] = []
        self._speaking = False

    async def hear(self, pcm: bytes) -> Sequence[Speaking | Heard]:
        marks = self._decoder.feed(pcm)
        heard: list[Speaking | Heard] = []
        if (self._decoder.busy or marks) and not self._speaking:
            self._speaking = True
            heard.append(Speaking(self._decoder.seconds))
        self._marks += marks
        if marks:
            heard.append(_heard(self._marks, final=False))
        if not self._decoder.busy and self._decoder.quiet_seconds >= self._endpoint():
            heard += self._final()
        return heard

    async def finish(self, *, closing: bool) -> Sequence[Speaking | Heard]:
        if closing:
            self._marks += self._decoder.flush()
        return self._final()

    async def aclose(self) -> None:
        """Nothing is held."""

    def _endpoint(self) -> float:
        """Return after how much silence what was heard is final: later, if more is to come."""
        last = self._marks[-1] if self._marks else None
        more = isinstance(last, Code) and not last.last
        return GIVE_UP_SECONDS if more else ENDPOINT_SECONDS

    def _final(self) -> list[Heard]:
        marks, self._marks = self._marks, []
        if not marks:
            return []
        self._speaking = self._decoder.busy
        return [_heard(marks, final=True)]


class ScriptedBrain:
    """Hears, answers and speaks by the script of `lines`."""

    name = "scripted"

    def listen(self, sample_rate: int) -> ScriptedEar:
        return ScriptedEar(sample_rate)

    async def answer(self, messages: Sequence[Message]) -> AsyncIterator[str]:
        for word in _answer(messages).split(" "):
            yield f"{word} "

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        pcm = await asyncio.to_thread(encode_codes, lines.speech_codes(text), SPEECH_RATE)
        for start in range(0, len(pcm), _CHUNK_BYTES):
            yield pcm[start : start + _CHUNK_BYTES]

    async def aclose(self) -> None:
        """Nothing is held."""


def _answer(messages: Sequence[Message]) -> str:
    """Return the reply to the last utterance of the last message of the user."""
    said = [message.text for message in messages if message.role == "user"]
    if not said:
        return lines.reply(lines.GREETING_ID)
    ids = lines.utterances_in(said[-1])
    return lines.reply(ids[-1]) if ids else lines.UNHEARD


def _heard(marks: Sequence[Code | Garble], *, final: bool) -> Heard:
    runs = list(_runs(marks))
    text = " ".join(_text(run, final=final) for run in runs)
    ids = tuple(run[0].id for run in runs if isinstance(run[0], Code))
    start, end = marks[0].start, marks[-1].end
    sure = min((lines.confidence(id_) for id_ in ids), default=0.0)
    return Heard(text, sure, spread(text, start, end), start, end, final, ids)


def _runs(marks: Sequence[Code | Garble]) -> Iterator[list[Code | Garble]]:
    """Yield the blocks that belong to one utterance, or one garbled piece, at a time."""
    run = [marks[0]]
    for before, mark in pairwise(marks):
        if _continues(before, mark):
            run.append(mark)
        else:
            yield run
            run = [mark]
    yield run


def _continues(before: Code | Garble, mark: Code | Garble) -> bool:
    return (
        isinstance(before, Code)
        and isinstance(mark, Code)
        and (before.kind, before.id) == (mark.kind, mark.id)
        and before.block < mark.block
    )


def _text(run: Sequence[Code | Garble], *, final: bool) -> str:
    first, last = run[0], run[-1]
    if not isinstance(first, Code) or not isinstance(last, Code):
        return lines.GARBLED
    if first.kind != Kind.UTTERANCE:
        return lines.ECHO
    complete = len(run) == last.block + 1 and last.last
    sentence = lines.utterance(first.id)
    return sentence if complete or not final else f"{sentence} {lines.BROKEN}"
