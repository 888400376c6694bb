"""OpenAI's transcription of a recording: a WAV file in a form, its words as JSON."""

from __future__ import annotations

import io
import wave

from aiohttp import web

from agent.local.providers.brain import Heard
from agent.local.providers.faults import Stage
from agent.local.providers.wire import GARBAGE, WIRE, ProtocolError, Wire


def routes() -> list[web.RouteDef]:
    return [web.post("/v1/audio/transcriptions", transcribe)]


async def transcribe(request: web.Request) -> web.Response:
    """Answer with the words of a recording; raises ProtocolError for what is none."""
    wire, form = request.app[WIRE], await request.post()
    file, model = form.get("file"), str(form.get("model", ""))
    if not isinstance(file, web.FileField):
        raise ProtocolError("file must be a file")
    rate, pcm = _samples(file.file.read())
    garbage = await wire.faults.meet(Stage.STT, "connect", model)
    text = await _heard(wire, rate, pcm)
    garbage = await wire.faults.meet(Stage.STT, "result", model) or garbage
    return web.Response(text=GARBAGE) if garbage else web.json_response({"text": text})


async def _heard(wire: Wire, rate: int, pcm: bytes) -> str:
    try:
        ear = wire.brain.listen(rate)
    except ValueError as error:
        raise ProtocolError(str(error)) from None
    try:
        events = [*await ear.hear(pcm), *await ear.finish(closing=True)]
    finally:
        await ear.aclose()
    final = [event for event in events if isinstance(event, Heard) and event.final]
    text, ids = " ".join(h.text for h in final), [id_ for h in final for id_ in h.ids]
    wire.log.add(Stage.STT, "heard", wire.log.connection(), ids=ids, text=text)
    return text


def _samples(data: bytes) -> tuple[int, bytes]:
    """Return the rate (Hz) and the PCM16 of a mono WAV file."""
    try:
        with wave.open(io.BytesIO(data)) as recording:
            if (recording.getnchannels(), recording.getsampwidth()) != (1, 2):
                raise ProtocolError("only 16-bit mono is understood")
            return recording.getframerate(), recording.readframes(recording.getnframes())
    except (wave.Error, EOFError):
        raise ProtocolError("the file is no WAV") from None
