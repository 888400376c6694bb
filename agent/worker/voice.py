"""How a session hears, thinks and speaks: the unmodified plugins, and nothing from any cloud else.

Defaults of the framework that lose speech are switched off here: audio withheld from the
recogniser while the AI begins to speak, or while it may not be interrupted. What else defaults to
LiveKit's cloud (turn detection, interruptions) is pinned to what runs in this process.
"""

from __future__ import annotations

from functools import partial

from livekit import rtc
from livekit.agents import (
    AgentSession,
    APIConnectOptions,
    TurnHandlingOptions,
    inference,
    room_io,
)
from livekit.agents.voice.room_io.types import TextInputCallback
from livekit.plugins import openai
from openai.types.realtime import AudioTranscription

from agent.settings import Pipeline, Settings, secret
from agent.worker import fallbacks
from agent.worker.aside import Aside
from agent.worker.coach import HeardText
from agent.worker.options import SessionOptions
from agent.worker.phrases import Phrases
from agent.worker.presence import PEOPLE
from agent.worker.scribe import Scribe

CLOSE_TRANSCRIPT_SECONDS = 1.0
"""How long a closing session waits for the last words' final text; after that the interim counts.
The client is gone by then, and a session is to be complete in Postgres within 2 s of that."""

REALTIME_PATIENCE = APIConnectOptions(max_retry=3, retry_interval=1.0, timeout=3.0)
"""For a Realtime connection: after about 3 s of refusals, or 12 s of none, it counts as dead."""


def make_voice(settings: Settings, options: SessionOptions) -> AgentSession[None]:
    """Return the session's voice, not yet started."""
    match options.pipeline:
        case Pipeline.STT_LLM_TTS:
            return _pipeline(settings, options)
        case Pipeline.REALTIME:
            return _realtime(settings, options)


def make_aside(
    room: rtc.Room, settings: Settings, options: SessionOptions, scribe: Scribe
) -> Aside:
    """Return what speaks beside the session's voice, and sounds like it."""
    realtime = options.pipeline is Pipeline.REALTIME
    name = settings.realtime_voice if realtime else settings.tts_voice
    return Aside(room, Phrases(partial(fallbacks.make_tts, settings, name)), scribe)


def room_options(
    client_identity: str, heard: HeardText, typed: TextInputCallback
) -> room_io.RoomOptions:
    """Return how the voice is tied to the room: to the client, never to whoever comes first."""
    return room_io.RoomOptions(
        participant_identity=client_identity,
        # whoever is taken for a client is listened to
        participant_kinds=list(PEOPLE),
        # a client who drops out has a grace time: `ending` decides when to close
        close_on_disconnect=False,
        text_input=room_io.TextInputOptions(text_input_cb=typed),
        text_output=room_io.TextOutputOptions(next_in_chain=heard),
    )


def _pipeline(settings: Settings, options: SessionOptions) -> AgentSession[None]:
    activity = inference.VAD(model="silero")
    return AgentSession[None](
        vad=activity,
        stt=fallbacks.make_stt(settings, options.language, activity),
        llm=fallbacks.make_llm(settings),
        tts=fallbacks.make_tts(settings, settings.tts_voice),
        conn_options=fallbacks.connect_options(settings),
        turn_handling=_turn_handling(settings),
        aec_warmup_duration=None,
        user_away_timeout=None,
        session_close_transcript_timeout=CLOSE_TRANSCRIPT_SECONDS,
    )


def _realtime(settings: Settings, options: SessionOptions) -> AgentSession[None]:
    return AgentSession[None](
        llm=openai.realtime.RealtimeModel(
            model=settings.realtime_model,
            voice=settings.realtime_voice,
            api_key=secret(settings.openai_api_key),
            base_url=settings.openai_base_url,
            input_audio_transcription=AudioTranscription(
                model=settings.realtime_transcription_model,
                language=options.language.split("-")[0],
            ),
            conn_options=REALTIME_PATIENCE,
        ),
        # the provider's own detector says nothing once its connection hangs
        vad=inference.VAD(model="silero"),
        turn_handling=TurnHandlingOptions(
            turn_detection="realtime_llm",
            interruption={"mode": "vad", "discard_audio_if_uninterruptible": False},
        ),
        aec_warmup_duration=None,
        user_away_timeout=None,
    )


def _turn_handling(settings: Settings) -> TurnHandlingOptions:
    return TurnHandlingOptions(
        turn_detection=(
            "vad" if settings.turn_detection == "vad" else inference.TurnDetector(version="v1-mini")
        ),
        interruption={"mode": "vad", "discard_audio_if_uninterruptible": False},
    )
