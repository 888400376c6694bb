"""A job's session is born once nothing that is known beforehand can keep it from starting."""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc

import prompts
from agent.settings import Pipeline, Settings
from agent.worker import fallbacks
from agent.worker import job as jobs
from agent.worker.job import CoachJob, CoachSession
from agent.worker.options import SessionOptions
from agent.worker.presence import CONSOLE, PEOPLE
from agent.worker.recorder import Recorder
from agent.worker.scribe import Scribe
from agent.worker.server import PRELOADED
from agent.worker.voice import make_voice, room_options
from persistence import journal
from persistence.events import Event, Segment

METADATA = SimpleNamespace(metadata="")


async def test_a_voice_that_cannot_be_made_leaves_no_session_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal would be one without a start: a session of nobody, in no room."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    started: list[object] = []
    monkeypatch.setattr(journal.JournalWriter, "create", lambda *a, **_: started.append(a))
    job = CoachJob(Settings(_env_file=None), tmp_path)
    context: Any = SimpleNamespace(job=SimpleNamespace(room=METADATA, metadata=""))
    with pytest.raises(Exception, match="API key"):
        job._open_session(context, CONSOLE)
    assert started == []


def test_a_voice_listens_to_whoever_a_job_takes_for_a_client() -> None:
    """Of other kinds than the framework's own three, it would never hear a word."""
    options = room_options("anybody", cast("Any", None), cast("Any", None))
    assert set(options.participant_kinds or ()) == PEOPLE


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


async def test_a_voice_that_never_starts_leaves_nobody_in_a_silent_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "START_SECONDS", 0.01)

    class Voice(rtc.EventEmitter[str]):
        async def start(self, *_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

    parts: dict[str, Any] = dict.fromkeys(CoachSession.__dataclass_fields__)
    options = SessionOptions(Pipeline.STT_LLM_TTS, "en", "coach")
    given = {"options": options, "prompt": prompts.load("coach"), "voice": Voice()}
    job = CoachJob(Settings(_env_file=None), Path())
    context: Any = SimpleNamespace(room=None)
    session = CoachSession(**{**parts, **given})
    starting = asyncio.create_task(job._start_voice(context, session, CONSOLE))
    done, _ = await asyncio.wait({starting}, timeout=10)
    starting.cancel()
    assert done
    assert isinstance(starting.exception(), TimeoutError)


@pytest.mark.parametrize("telling", [True, False])
async def test_a_typed_message_is_recorded_and_answered_whatever_is_being_said(
    monkeypatch: pytest.MonkeyPatch, *, telling: bool
) -> None:
    """A word about the time is heard to its end; the answer comes after it."""
    interrupted: list[bool] = []

    async def interrupt() -> None:
        interrupted.append(True)

    answered: list[str] = []
    recorded: list[Event] = []
    voice: Any = SimpleNamespace(
        interrupt=interrupt, generate_reply=lambda *, user_input: answered.append(user_input)
    )
    log: Any = SimpleNamespace(append=lambda *new: recorded.extend(new), trouble=None)
    session = SimpleNamespace(
        scribe=Scribe(Recorder(CONSOLE.person, "en"), log), limit=SimpleNamespace(telling=telling)
    )
    context = SimpleNamespace(proc=SimpleNamespace(userdata={jobs._SESSION: session}))
    monkeypatch.setattr(jobs, "get_job_context", lambda: context)
    await jobs._typed(voice, cast("Any", SimpleNamespace(text="are you there")))
    assert [e.text for e in recorded if isinstance(e, Segment)] == ["are you there"]
    assert answered == ["are you there"]
    assert interrupted == [True] * (not telling)


async def test_an_end_is_on_disk_whatever_of_the_session_does_not_close() -> None:
    """What speaks beside the conversation is let go of after that, and after the room."""
    done: list[str] = []

    async def delete_room() -> None:
        done.append("room deleted")

    async def fail() -> None:
        done.append("aside closed")
        raise OSError("a connection that does not close")

    def close(_: float) -> bool:
        done.append("on disk")
        return True

    session = SimpleNamespace(
        id="of nobody",
        ending=SimpleNamespace(journal_end=lambda: done.append("ended"), for_good=True),
        aside=SimpleNamespace(aclose=fail),
        scribe=SimpleNamespace(journal=SimpleNamespace(close=close)),
    )
    userdata = {jobs._SESSION: session}
    context: Any = SimpleNamespace(
        proc=SimpleNamespace(userdata=userdata),
        room=SimpleNamespace(remote_participants={}),
        delete_room=delete_room,
    )
    with pytest.raises(OSError, match="does not close"):
        await CoachJob(Settings(_env_file=None), Path()).finish(context)
    assert done == ["ended", "on disk", "room deleted", "aside closed"]
