"""Metadata from outside: what is valid counts, what is not is left out, and nothing fails."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.settings import Pipeline, Settings, SettingsError, load
from agent.worker.options import SessionOptions, session_options

PROMPTS = ("coach", "greeting")


def options(job: str = "", room: str = "") -> SessionOptions:
    return session_options(
        Settings(_env_file=None),
        room_metadata=room,
        job_metadata=job,
        prompts=PROMPTS,
    )


def test_without_metadata_the_settings_count() -> None:
    assert options() == SessionOptions(Pipeline.STT_LLM_TTS, "en", "coach")


def test_job_metadata_wins_over_room_metadata() -> None:
    chosen = options(
        job=json.dumps({"pipeline": "realtime"}),
        room=json.dumps({"pipeline": "stt-llm-tts", "language": "de", "scenario_id": "first-day"}),
    )
    assert (chosen.pipeline, chosen.language) == (Pipeline.REALTIME, "de")
    assert (chosen.scenario_id, chosen.ignored) == ("first-day", ())


@pytest.mark.parametrize("metadata", ["{", "[]", "7", '"x"', "[" * 100_000, "\0", "nul"])
def test_metadata_that_is_no_object_is_ignored_and_said(metadata: str) -> None:
    assert options(job=metadata) == SessionOptions(
        Pipeline.STT_LLM_TTS, "en", "coach", ignored=("job_metadata",)
    )


def test_malformed_fields_are_ignored_and_the_others_count() -> None:
    chosen = options(
        job=json.dumps({"pipeline": 7, "language": "en\0", "prompt": "../x", "scenario_id": "ok"})
    )
    assert chosen.scenario_id == "ok"
    assert chosen.ignored == ("pipeline", "language", "prompt")


@given(metadata=st.text() | st.dictionaries(st.text(), st.text()).map(json.dumps))
def test_no_metadata_breaks_a_session(metadata: str) -> None:
    assert options(job=metadata, room=metadata).prompt in PROMPTS


def test_a_prompt_that_does_not_exist_is_said_at_the_start_and_not_in_every_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COACH_PROMPT", "couch")
    with pytest.raises(SettingsError, match="COACH_PROMPT is malformed: there is no such prompt"):
        load()


@pytest.mark.parametrize(
    ("metadata", "resumed"),
    [('{"resumed": true}', True), ('{"resumed": "yes"}', False), ("{}", False), ("true", False)],
)
def test_a_job_is_told_that_it_follows_one_that_broke_off(metadata: str, resumed: bool) -> None:
    assert options(job=metadata).resumed is resumed
