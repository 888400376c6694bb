"""A job's session is born once nothing that is known beforehand can keep it from starting."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.settings import Settings
from agent.worker.job import CoachJob
from agent.worker.presence import CONSOLE
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
