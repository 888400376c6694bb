"""The one settings object: read once at the edge, frozen, passed on.

Standard names are taken as they are (`LIVEKIT_URL`, `OPENAI_API_KEY`, …); the project's own begin
with `COACH_`. `.env` in the working folder is read, the environment wins over it. Whatever is
missing or malformed for the command at hand is said in one message (`SettingsError`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

import prompts


class Pipeline(StrEnum):
    """How a session hears, thinks and speaks."""

    STT_LLM_TTS = "stt-llm-tts"
    REALTIME = "realtime"


class Need(StrEnum):
    """What a command cannot do without."""

    LIVEKIT = "livekit"
    DATABASE = "database"
    PROVIDERS = "providers"
    LLM = "llm"


NEEDED: Mapping[Need, tuple[str, ...]] = {
    Need.LIVEKIT: ("livekit_url", "livekit_api_key", "livekit_api_secret"),
    Need.DATABASE: ("database_url",),
    Need.PROVIDERS: ("deepgram_api_key", "openai_api_key"),
    Need.LLM: ("openai_api_key",),
}


class ProviderModel(NamedTuple):
    """A model by its provider; in the environment `provider:model`."""

    provider: str
    name: str


FALLBACK_PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "stt_fallbacks": ("deepgram", "openai"),
    "llm_fallbacks": ("openai",),
    "tts_fallbacks": ("openai", "deepgram"),
}

DEEPGRAM_BASE_URL = "https://api.deepgram.com/v1/listen"
OPENAI_BASE_URL = "https://api.openai.com/v1"
MAX_PORT = 65535
GOODBYE_SECONDS = 120
"""How long a session may go on past its greatest length, until its goodbye is said."""

RENEWALS_A_LEASE = 3
"""At least: a lease outlives a renewal that fails, and the one after it."""


class SettingsError(Exception):
    """Some settings are missing or malformed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("settings: " + "; ".join(problems))
        self.problems = problems


def _standard(name: str) -> Any:
    return Field(default=None, validation_alias=AliasChoices(name.upper(), name))


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="COACH_",
        env_file=".env",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    # what it stands on
    livekit_url: str | None = _standard("livekit_url")
    livekit_api_key: str | None = _standard("livekit_api_key")
    livekit_api_secret: SecretStr | None = _standard("livekit_api_secret")
    database_url: SecretStr | None = _standard("database_url")
    deepgram_api_key: SecretStr | None = _standard("deepgram_api_key")
    deepgram_base_url: str = Field(
        default=DEEPGRAM_BASE_URL,
        validation_alias=AliasChoices("DEEPGRAM_BASE_URL", "deepgram_base_url"),
    )
    openai_api_key: SecretStr | None = _standard("openai_api_key")
    openai_base_url: str = Field(
        default=OPENAI_BASE_URL,
        validation_alias=AliasChoices("OPENAI_BASE_URL", "openai_base_url"),
    )

    # the conversation
    agent_name: str = "voice-coach"
    pipeline: Pipeline = Pipeline.STT_LLM_TTS
    prompt: str = "coach"
    language: str = "en"
    stt_model: str = "nova-3"
    llm_model: str = "gpt-4.1-mini"
    tts_model: str = "gpt-4o-mini-tts"
    tts_voice: str = "ash"
    realtime_model: str = "gpt-realtime"
    realtime_voice: str = "marin"
    realtime_transcription_model: str = "gpt-4o-mini-transcribe"
    summary_model: str = "gpt-4.1-mini"
    turn_detection: Literal["v1-mini", "vad"] = "v1-mini"
    stt_fallbacks: Annotated[tuple[ProviderModel, ...], NoDecode] = ()
    llm_fallbacks: Annotated[tuple[ProviderModel, ...], NoDecode] = ()
    tts_fallbacks: Annotated[tuple[ProviderModel, ...], NoDecode] = ()
    """Who takes over from a provider that fails, in this order: `provider:model,…`."""
    llm_timeout_seconds: float = Field(default=3.0, gt=0)
    """For the first piece of an answer, and for each that follows; then it is asked once more."""
    tts_timeout_seconds: float = Field(default=2.0, gt=0)
    """The same for speech."""
    client_grace_seconds: float = Field(default=30.0, ge=0)
    max_session_minutes: float = Field(default=120.0, gt=0)
    """A session past this length is ended by the AI, with a word before and a goodbye."""
    session_warning_minutes: float = Field(default=5.0, ge=0)
    """How long before that the client is told, at most a quarter of the session; 0: not at all."""
    lone_client_seconds: float = Field(default=5.0, gt=0)
    """A client in a room without an agent for this long gets another dispatch."""

    # the worker
    journal_dir: Path = Path("var/journal")
    journal_folder: Path | None = None
    """An explicit folder of this worker's own, instead of a free one under `journal_dir`."""
    journal_max_bytes: int = Field(default=2 * 1024**3, gt=0)
    lease_seconds: float = Field(default=60.0, gt=0)
    lease_renewal_seconds: float = Field(default=10.0, gt=0)
    idle_processes: int | None = Field(default=None, ge=0)
    load_threshold: float = Field(default=0.7, gt=0)
    worker_host: str = "127.0.0.1"
    worker_port: int = Field(default=0, ge=0, le=MAX_PORT)
    """The worker's health port; 0 picks a free one."""
    metrics_port: int = Field(default=0, ge=0, le=MAX_PORT)
    """Where the worker serves `/metrics`, on the same host; 0 picks a free one, and logs it."""
    drain_seconds: int | None = Field(default=None, ge=0)
    """How long a stopping worker lets its sessions go on; 0 ends them at once, and unset is as long
    as the longest may last. What goes on after that is cut off."""
    ship_seconds: float = Field(default=30.0, ge=0)
    """How long a stopping worker waits for Postgres to have everything."""
    run_jobs: bool = True
    """Whether `coach start` also runs the after-session jobs."""

    # the API
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=0, le=MAX_PORT)
    api_public_url: str | None = None
    """Where browsers reach it, as links that it gives name it; else by the request, if it came to
    this machine itself or to one of `api_origins`."""
    api_key_requests_per_minute: int = Field(default=600, ge=1)
    api_address_requests_per_minute: int = Field(default=1200, ge=1)
    api_origins: str = ""
    """Other sites whose pages may call the API with a key, separated by commas (CORS)."""
    api_proxies: str = "127.0.0.1"
    """Addresses of reverse proxies, separated by commas, whose X-Forwarded-For is believed."""

    # what it says
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "json"

    @property
    def longest_drain_seconds(self) -> int:
        """How long a stopping worker lets its sessions go on, in whole seconds."""
        longest = math.ceil(self.max_session_minutes * 60) + GOODBYE_SECONDS
        return longest if self.drain_seconds is None else self.drain_seconds

    @field_validator("prompt")
    @classmethod
    def _known_prompt(cls, value: str) -> str:
        if value not in prompts.names():
            raise ValueError(f"there is no such prompt; there are {', '.join(prompts.names())}")
        return value

    @field_validator(*FALLBACK_PROVIDERS, mode="before")
    @classmethod
    def _provider_models(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        known = FALLBACK_PROVIDERS[str(info.field_name)]
        models = [ProviderModel(*map(str.strip, m.partition(":")[::2])) for m in value.split(",")]
        if not all(model.provider in known and model.name for model in models):
            raise ValueError(f"must be provider:model, …, with {' or '.join(known)} for provider")
        return tuple(models)

    @field_validator("livekit_url")
    @classmethod
    def _websocket_url(cls, value: str | None) -> str | None:
        return _checked_url(value, {"ws", "wss", "http", "https"})

    @field_validator("deepgram_base_url", "openai_base_url", "api_public_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        return _checked_url(value, {"http", "https"})

    @field_validator("api_origins")
    @classmethod
    def _web_origins(cls, value: str) -> str:
        for origin in listed(value):
            _checked_url(origin, {"http", "https"})
            if origin.count("/") != 2:  # noqa: PLR2004 those behind the scheme
                raise ValueError("names sites as https://host or https://host:port")
        return value

    @field_validator("database_url")
    @classmethod
    def _postgres_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _check_database_url(value.get_secret_value())
        return value


def _checked_url(value: str | None, schemes: set[str]) -> str | None:
    """Return `value`; raise ValueError, which quotes nothing, unless it is a URL of `schemes`."""
    if value is not None:
        try:
            parts = urlsplit(value)
            sound = parts.scheme in schemes and parts.hostname and parts.port != 0
        except ValueError:
            sound = False
        if not sound:
            raise ValueError(f"must be a URL that begins with {' or '.join(sorted(schemes))}")
    return value


def _check_database_url(value: str) -> None:
    """Raise ValueError, which quotes nothing, unless libpq reads `value` as a URL."""
    from psycopg import ProgrammingError  # noqa: PLC0415 - only who has a database pays for it
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    from persistence.database import normalised  # noqa: PLC0415

    url = normalised(value)
    try:
        ports = str(conninfo_to_dict(url).get("port", "")).split(",")  # one for each host
    except (ProgrammingError, UnicodeError):
        raise ValueError("is no URL that libpq reads") from None
    if not all(port == "" or (port.isdecimal() and 0 < int(port) <= MAX_PORT) for port in ports):
        raise ValueError(f"has a port that is no number from 1 to {MAX_PORT}")


def listed(value: str) -> list[str]:
    """Return what a setting lists, separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()]


def environment_name(field: str) -> str:
    """Return the name under which `field` is read from the environment."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return f"COACH_{field.upper()}"


def load(*needs: Need, **overrides: Any) -> Settings:
    """Read the settings; `overrides` win over the environment.

    Raises SettingsError, which names everything that is malformed, and everything missing of what
    `needs` ask for.
    """
    settings, problems = look(*needs, **overrides)
    if problems:
        raise SettingsError(problems)
    return settings


def look(*needs: Need, **overrides: Any) -> tuple[Settings, list[str]]:
    """Return the settings, what is malformed left at its default, and all that is wrong with them.

    Raises SettingsError where there is nothing to be read.
    """
    problems: list[str] = []
    malformed: set[str] = set()
    settings: Settings | None = None
    try:
        settings = Settings(**overrides)
    except UnicodeDecodeError:
        raise SettingsError([".env is not UTF-8"]) from None
    except ValidationError as error:
        for detail in error.errors(include_input=False, include_url=False):
            name = str(detail["loc"][0]) if detail["loc"] else "settings"
            field = next(
                (f for f in Settings.model_fields if name in (f, environment_name(f))), None
            )
            malformed.add(field or name)
            message = detail["msg"].removeprefix("Value error, ")
            problems.append(f"{environment_name(field) if field else name} is malformed: {message}")
    present = settings or _lenient(malformed)
    return present, problems + _contradictions(present) + _missing(needs, present, malformed)


def secret(value: SecretStr | None) -> str:
    """Return a secret in the clear; an unset one is an empty string, which no provider takes."""
    return value.get_secret_value() if value else ""


def _contradictions(present: Settings) -> list[str]:
    """Return what is wrong only with the settings together."""
    if present.lease_seconds >= RENEWALS_A_LEASE * present.lease_renewal_seconds:
        return []
    name, other = map(environment_name, ("lease_seconds", "lease_renewal_seconds"))
    return [f"{name} is malformed: must be {RENEWALS_A_LEASE} times {other}, or more"]


def _missing(needs: tuple[Need, ...], present: Settings, malformed: set[str]) -> list[str]:
    return [
        f"{environment_name(field)} is missing"
        for need in needs
        for field in NEEDED[need]
        if field not in malformed and getattr(present, field) is None
    ]


def _lenient(malformed: set[str]) -> Settings:
    """Return the settings with what is malformed left at its default, to see what else lacks."""
    defaults = {field: Settings.model_fields[field].default for field in malformed}
    return Settings(**defaults)
