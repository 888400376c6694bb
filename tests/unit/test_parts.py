"""What `coach up` tells its children, and what it leaves as the user has it."""

from __future__ import annotations

import pytest

from agent.local import parts
from agent.settings import Settings, load

KEYS = {"deepgram_api_key": "d", "openai_api_key": "o"}
LIVEKIT = {"livekit_url": "wss://there", "livekit_api_key": "k", "livekit_api_secret": "s"}
PROXIED = {
    "HTTPS_PROXY": "http://proxy",
    "http_proxy": "http://proxy",
    "NO_PROXY": "a",
    "HOME": "/",
}


def settings(**given: str) -> Settings:
    return load(**given)


@pytest.mark.parametrize(
    "given", [{}, KEYS, LIVEKIT, {**LIVEKIT, "deepgram_api_key": "d"}], ids=",".join
)
def test_local_parts_are_not_reached_through_a_proxy(given: dict[str, str]) -> None:
    """LiveKit's worker sends even local connections through it."""
    made = parts.environment(settings(**given), PROXIED)
    assert {"HTTPS_PROXY", "http_proxy"}.isdisjoint(made)
    assert made["HOME"] == "/"


def test_where_nothing_is_local_a_proxy_stays() -> None:
    made = parts.environment(settings(**LIVEKIT, **KEYS), PROXIED)
    assert made["HTTPS_PROXY"] == "http://proxy"
    assert parts.proxied(PROXIED)
    assert not parts.proxied({"HTTPS_PROXY": "", "NO_PROXY": "a"})


def test_one_machine_takes_every_call_and_a_stop_ends_sessions_soon() -> None:
    made = parts.environment(settings(), {})
    assert made["COACH_LOAD_THRESHOLD"] == "1"
    assert made["COACH_DRAIN_SECONDS"] == "1"
    assert made["OPENBLAS_NUM_THREADS"] == "1"


def test_what_the_user_has_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children read it where the user wrote it, in the environment or in `.env`."""
    monkeypatch.setenv("COACH_LOAD_THRESHOLD", "0.5")
    monkeypatch.setenv("COACH_TURN_DETECTION", "v1-mini")
    made = parts.environment(settings(), {"OPENBLAS_NUM_THREADS": "2"})
    assert {"COACH_LOAD_THRESHOLD", "COACH_TURN_DETECTION"}.isdisjoint(made)
    assert made["OPENBLAS_NUM_THREADS"] == "2"


@pytest.mark.parametrize(("level", "told"), [("ERROR", "INFO"), ("INFO", "INFO"), ("DEBUG",) * 2])
def test_logs_say_at_least_what_readiness_is_read_from(level: str, told: str) -> None:
    assert parts.environment(settings(log_level=level), {})["COACH_LOG_LEVEL"] == told


def test_synthetic_speech_is_not_judged_by_its_prosody() -> None:
    assert parts.environment(settings(), {})["COACH_TURN_DETECTION"] == "vad"
    assert "COACH_TURN_DETECTION" not in parts.environment(settings(**KEYS), {})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {"DEEPGRAM_API_KEY", "DEEPGRAM_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"}),
        ({"deepgram_api_key": "d"}, {"OPENAI_API_KEY", "OPENAI_BASE_URL"}),
        ({"openai_api_key": "o"}, {"DEEPGRAM_API_KEY", "DEEPGRAM_BASE_URL"}),
        (KEYS, set()),
    ],
    ids=["none", "deepgram", "openai", "both"],
)
def test_the_stand_in_stands_in_for_missing_keys_alone(
    given: dict[str, str], told: set[str]
) -> None:
    urls = {"deepgram": "http://d", "openai": "http://o"}
    lacking = parts.missing(settings(**given))
    assert set(parts.stand_in_environment(urls, lacking)) == told
    assert lacking.providers == bool(told)
