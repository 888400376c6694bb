"""The providers of a session: each kind with those that take over from it, none of them patient.

A provider that fails is left for the next one of its kind by LiveKit's adapters, and tried again
beside the conversation. Without a fallback there is no adapter: it would only put one more layer
under the same retries. The framework's own time-outs (10 s an attempt, four attempts, 30 s for
speech) are meant for work, not for talk: a client waits here, so an attempt is given up early.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx2 as httpx
import openai as openai_api
import structlog
from livekit.agents import APIConnectOptions, llm, stt, tts, vad
from livekit.agents.voice.agent_session import SessionConnectOptions
from livekit.plugins import deepgram, openai

from agent.settings import ProviderModel, Settings, secret
from agent.worker.scribe import Scribe

log = structlog.get_logger("coach.voice")

STT_TIMEOUT_SECONDS = 3.0
"""How long a recogniser may take to connect, or to transcribe a piece of speech."""

RETRY_SECONDS = 0.5
"""Between the later attempts; the framework makes the first retry after 0.1 s."""

NEVER = 1_000_000
"""The framework closes a session at so many failures, without a word. `Silence` decides that."""


def connect_options(settings: Settings) -> SessionConnectOptions:
    """Return how long a session waits for its providers, and how often it asks again.

    One retry where there is nobody to turn to; else the adapter goes to the next instead.
    """
    return SessionConnectOptions(
        stt_conn_options=_patience(STT_TIMEOUT_SECONDS, alone=not settings.stt_fallbacks),
        llm_conn_options=_patience(settings.llm_timeout_seconds, alone=not settings.llm_fallbacks),
        tts_conn_options=_patience(settings.tts_timeout_seconds, alone=not settings.tts_fallbacks),
        max_unrecoverable_errors=NEVER,
    )


def _patience(seconds: float, *, alone: bool) -> APIConnectOptions:
    return APIConnectOptions(
        max_retry=1 if alone else 0, retry_interval=RETRY_SECONDS, timeout=seconds
    )


def make_stt(settings: Settings, language: str, activity: vad.VAD) -> stt.STT[Any]:
    """Return the recogniser; `activity` cuts speech for those that take it in pieces."""
    models = (ProviderModel("deepgram", settings.stt_model), *settings.stt_fallbacks)
    made = [_stt(settings, model, language) for model in models]
    if len(made) == 1:
        return made[0]
    return stt.FallbackAdapter(
        made,
        vad=activity,
        attempt_timeout=STT_TIMEOUT_SECONDS,
        # no retry: attempts that hang are never counted up, and nobody would ever take over
        max_retry_per_stt=0,
    )


def make_llm(settings: Settings) -> llm.LLM[Any]:
    """Return the model that answers."""
    models = (ProviderModel("openai", settings.llm_model), *settings.llm_fallbacks)
    made: list[llm.LLM[Any]] = [
        openai.LLM(
            model=model.name,
            client=_client(settings, settings.llm_timeout_seconds),
        )
        for model in models
    ]
    if len(made) == 1:
        return made[0]
    return llm.FallbackAdapter(made, attempt_timeout=settings.llm_timeout_seconds)


def make_tts(settings: Settings, voice: str) -> tts.TTS[Any]:
    """Return what speaks; `voice` is OpenAI's, Deepgram's voices are part of their models."""
    models = (ProviderModel("openai", settings.tts_model), *settings.tts_fallbacks)
    made = [_tts(settings, model, voice) for model in models]
    return made[0] if len(made) == 1 else tts.FallbackAdapter(made, max_retry_per_tts=0)


def _stt(settings: Settings, model: ProviderModel, language: str) -> stt.STT[Any]:
    if model.provider == "deepgram":
        return deepgram.STT(
            model=model.name,
            language=language,
            api_key=secret(settings.deepgram_api_key),
            base_url=settings.deepgram_base_url,
            mip_opt_out=True,  # what clients say is not for training anybody's models
        )
    return openai.STT(
        model=model.name,
        language=language.partition("-")[0],
        use_realtime=False,
        client=_client(settings, STT_TIMEOUT_SECONDS),
    )


def _tts(settings: Settings, model: ProviderModel, voice: str) -> tts.TTS[Any]:
    if model.provider == "deepgram":
        return deepgram.TTS(
            model=model.name,
            api_key=secret(settings.deepgram_api_key),
            base_url=settings.deepgram_base_url.removesuffix("/listen") + "/speak",
            mip_opt_out=True,
        )
    return openai.TTS(
        model=model.name,
        voice=voice,
        response_format="pcm",
        client=_client(settings, settings.tts_timeout_seconds),
    )


@cache
def trusted() -> ssl.SSLContext:
    """Return whom connections trust, the same for all: to read that takes 30 to 70 ms each time.

    A job process asks for it before it has a job, so that no session waits for it.
    """
    return httpx.create_ssl_context()


def _client(settings: Settings, seconds: float) -> openai_api.AsyncClient:
    """Return a client of OpenAI's API that waits `seconds` for a byte, whatever it is asked to.

    The plugins ask it to wait for 30 s.
    """
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=50, keepalive_expiry=120)
    return openai_api.AsyncClient(
        api_key=secret(settings.openai_api_key),
        base_url=settings.openai_base_url,
        max_retries=0,
        http_client=httpx.AsyncClient(
            transport=_Impatient(seconds, limits=limits), follow_redirects=True
        ),
    )


class _Impatient(httpx.AsyncHTTPTransport):
    def __init__(self, seconds: float, *, limits: httpx.Limits) -> None:
        super().__init__(verify=trusted(), limits=limits)
        self._seconds = seconds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), self._seconds)
        request.extensions = {**request.extensions, "timeout": timeout}
        return await super().handle_async_request(request)


@dataclass(frozen=True)
class Takeovers:
    """Notes in a session's record which provider failed and which is back."""

    scribe: Scribe

    def watch(self, *providers: object) -> None:
        """Watch those of `providers` that have somebody to take over."""
        for provider in providers:
            match provider:
                case stt.FallbackAdapter():
                    provider.on("stt_availability_changed", lambda e: self._note("stt", e.stt, e))
                case llm.FallbackAdapter():
                    provider.on("llm_availability_changed", lambda e: self._note("llm", e.llm, e))
                case tts.FallbackAdapter():
                    provider.on("tts_availability_changed", lambda e: self._note("tts", e.tts, e))

    def _note(
        self, kind: str, of: stt.STT[Any] | llm.LLM[Any] | tts.TTS[Any], change: object
    ) -> None:
        model, available = of.model, bool(getattr(change, "available", False))
        log.warning("provider_fallback", kind=kind, model=model, available=available)
        recorder = self.scribe.recorder
        self.scribe.write(
            lambda now: recorder.marker(
                now, "provider_fallback", provider=kind, model=model, available=available
            )
        )
