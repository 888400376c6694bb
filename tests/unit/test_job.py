"""A job's session is born once nothing that is known beforehand can keep it from starting."""

from __future__ import annotations

import importlib.util
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.settings import Pipeline, Settings
from agent.worker import fallbacks
from agent.worker.job import CoachJob
from agent.worker.options import SessionOptions
from agent.worker.presence import CONSOLE
from agent.worker.server import PRELOADED
from agent.worker.voice import make_voice
from persistence import journal

METADATA = SimpleNamespace(metadata="")


async def test_a_voice_that_cannot_be_made_leaves_no_session_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal would be one without a start: a session of nobody, in no room."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    started: list[object] = []
    monkeypatch.setattr(journal.JournalWriter, "create", lambda *a, **_: started.append(a))
    job = CoachJob(Settings(_env_file=None), tmp_path)  # type: ignore[call-arg]
    context: Any = SimpleNamespace(job=SimpleNamespace(room=METADATA, metadata=""))
    with pytest.raises(Exception, match="API key"):
        job._open_session(context, CONSOLE)
    assert started == []


async def test_a_voice_is_made_without_reading_again_whom_to_trust(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes tens of milliseconds, in the middle of a session's start."""
    fallbacks.trusted()
    read: list[object] = []
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *a, **_: read.append(a))
    settings = Settings(openai_api_key="none", deepgram_api_key="none", turn_detection="vad")
    make_voice(settings, SessionOptions(Pipeline.STT_LLM_TTS, "en", "coach"))
    assert read == []


@pytest.mark.parametrize("name", PRELOADED)
def test_what_is_loaded_before_all_jobs_exists(name: str) -> None:
    """Of a name that does not, nothing is said where they are loaded."""
    assert importlib.util.find_spec(name) is not None
