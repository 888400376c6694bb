"""A session's time: told before it is up, and ended in a pause of the client's."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.agents import UserStateChangedEvent
from livekit.agents.voice.events import UserState

import prompts
from agent.settings import Pipeline, Settings
from agent.worker import limit as limits
from agent.worker.ending import CLOSE_SECONDS
from agent.worker.limit import NEVER_SAID, Limit, warning_seconds
from agent.worker.options import SessionOptions
from agent.worker.people import Person
from agent.worker.recorder import Recorder
from agent.worker.scribe import Scribe
from persistence.events import EndReason, Event, Marker, Role

WARNING = prompts.spoken("time_warning").text
USUAL = {"min_words": 0, "mode": "vad", "resume_false_interruption": True}
GOODBYE = prompts.spoken("time_up").text


class Voice(rtc.EventEmitter[str]):
    """An AgentSession as far as a limit sees it; `stuck`: what it says never ends."""

    def __init__(self) -> None:
        super().__init__()
        self.user_state: UserState = "listening"
        self.current_speech: Any = None
        self.options = SimpleNamespace(interruption=dict(USUAL))
        self.said: list[str] = []
        self.words_that_interrupt: list[int] = []
        self.asked: list[str] = []
        self.answered: list[int] = []
        self.spoke = asyncio.Event()
        self.stuck = self.closing = self.speaking_since_said = False

    def say(self, words: str) -> Any:
        if self.closing:
            raise RuntimeError("closing")
        self.said.append(words)
        self.words_that_interrupt.append(self.options.interruption["min_words"])
        if self.speaking_since_said:
            self.state("speaking")
        self.spoke.set()
        return SimpleNamespace(wait_for_playout=self._played)

    def generate_reply(self, *, instructions: str) -> Any:
        self.asked.append(instructions)
        self.words_that_interrupt.append(self.options.interruption["min_words"])
        return SimpleNamespace(wait_for_playout=self._played)

    def commit_user_turn(self, **_: float) -> None:
        self.answered.append(len(self.said))

    def state(self, new: UserState) -> None:
        event = UserStateChangedEvent.model_construct(old_state=self.user_state, new_state=new)
        self.user_state = new
        self.emit("user_state_changed", event)

    async def _played(self) -> None:
        if self.stuck:
            await asyncio.Event().wait()


class Session:
    def __init__(self, maximum: float, warning: float, **options: Any) -> None:
        self.events: list[Event] = []
        self.ends: list[EndReason] = []
        self.voice = Voice()
        self.absence = SimpleNamespace(away=False)
        self.in_flight = SimpleNamespace(unanswered=False)
        journal: Any = SimpleNamespace(append=lambda *new: self.events.extend(new), trouble=None)
        self.limit = Limit(
            cast("Any", self.voice),
            cast("Any", SimpleNamespace(end=self.ends.append)),
            cast("Any", self.absence),
            cast("Any", self.in_flight),
            Scribe(Recorder(Person(Role.CLIENT, "client-7", "7"), "en"), journal),
            SessionOptions(**{
                "pipeline": Pipeline.STT_LLM_TTS, "language": "en", "prompt": "coach", **options
            }),
            maximum,
            warning,
        )  # fmt: skip

    async def kept(self) -> None:
        await asyncio.wait_for(self.limit.keep(), 5)


async def test_the_client_is_told_before_the_time_is_up_and_again_when_it_is() -> None:
    session = Session(0.02, 0.01)
    await session.kept()
    assert session.voice.said == [WARNING, GOODBYE]
    assert session.ends == [EndReason.MAX_DURATION]
    assert [e.type for e in session.events if isinstance(e, Marker)] == ["time_warning"]


async def test_the_time_runs_from_the_sessions_start_and_not_from_the_voices() -> None:
    session = Session(3600, 0)
    session.limit.began -= 3600
    await session.kept()
    assert session.ends == [EndReason.MAX_DURATION]


async def test_a_client_who_speaks_is_let_finish() -> None:
    session = Session(0.01, 0)
    session.voice.state("speaking")
    keeping = asyncio.create_task(session.limit.keep())
    await asyncio.sleep(0.05)
    assert (session.voice.said, session.ends) == ([], [])
    session.voice.state("listening")
    await asyncio.wait_for(keeping, 5)
    assert session.voice.said == [GOODBYE]


async def test_what_a_client_says_to_the_goodbye_is_heard_to_its_end() -> None:
    session = Session(0.01, 0)
    keeping = asyncio.create_task(session.limit.keep())
    session.voice.speaking_since_said = True
    await session.voice.spoke.wait()
    await asyncio.sleep(0.02)
    assert session.ends == []
    session.voice.state("listening")
    await asyncio.wait_for(keeping, 5)
    assert session.ends == [EndReason.MAX_DURATION]


async def test_a_word_about_the_time_is_cut_off_by_nothing_and_the_next_reply_as_ever() -> None:
    session = Session(0.02, 0.01)
    await session.kept()
    assert session.voice.words_that_interrupt == [NEVER_SAID, NEVER_SAID]
    assert session.voice.options.interruption == USUAL


async def test_what_the_client_said_into_the_warning_is_answered_after_it() -> None:
    session = Session(0.02, 0.01)
    session.in_flight.unanswered = True
    await session.kept()
    assert session.voice.answered == [1]


async def test_a_client_who_was_silent_or_still_speaks_needs_no_answer() -> None:
    session = Session(0.02, 0.01)
    await session.kept()
    assert session.voice.answered == []


async def test_a_reply_that_goes_on_is_heard_first_and_may_be_interrupted() -> None:
    session = Session(0.01, 0)
    over = asyncio.Event()
    session.voice.current_speech = SimpleNamespace(wait_for_playout=over.wait)
    keeping = asyncio.create_task(session.limit.keep())
    await asyncio.sleep(0.05)
    assert (session.voice.said, session.limit.telling) == ([], False)
    over.set()
    await asyncio.wait_for(keeping, 5)
    assert session.voice.said == [GOODBYE]


async def test_a_client_who_speaks_on_and_on_is_not_waited_for_without_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "UTTERANCE_SECONDS", 0.01)
    monkeypatch.setattr(limits, "LAST_WORD_SECONDS", 0.01)
    session = Session(0.01, 0)
    session.voice.state("speaking")
    await session.kept()
    assert session.ends == [EndReason.MAX_DURATION]


async def test_a_voice_that_does_not_finish_its_words_keeps_no_session_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SPEECH_SECONDS", 0.01)
    session = Session(0.02, 0.01)
    session.voice.stuck = True
    await session.kept()
    assert session.ends == [EndReason.MAX_DURATION]


async def test_a_voice_that_is_closing_is_asked_in_vain() -> None:
    session = Session(0.01, 0)
    session.voice.closing = True
    await session.kept()
    assert session.ends == [EndReason.MAX_DURATION]


async def test_nothing_is_said_to_a_client_who_is_not_there() -> None:
    session = Session(0.02, 0.01)
    session.absence.away = True
    await session.kept()
    assert session.voice.said == []
    assert session.ends == [EndReason.MAX_DURATION]


@pytest.mark.parametrize(
    "options", [{"pipeline": Pipeline.REALTIME}, {"language": "de"}, {"language": "multi"}]
)
async def test_where_the_words_cannot_be_read_out_the_model_is_asked_to_say_them(
    options: dict[str, Any],
) -> None:
    session = Session(0.01, 0, **options)
    await session.kept()
    assert session.voice.said == []
    assert session.voice.asked[0].endswith(GOODBYE)


@pytest.mark.parametrize(
    ("maximum", "wanted", "expected"), [(7200, 300, 300), (600, 300, 150), (7200, 0, 0)]
)
def test_a_short_session_has_a_short_warning(
    maximum: float, wanted: float, expected: float
) -> None:
    assert warning_seconds(maximum, wanted) == expected


@pytest.mark.parametrize("minutes", [120, 0.5])
def test_a_worker_that_stops_lets_the_longest_session_say_goodbye(minutes: float) -> None:
    """Unless it is told to stop sooner."""
    words = 2 * limits.SPEECH_SECONDS + limits.UTTERANCE_SECONDS + limits.LAST_WORD_SECONDS
    settings = Settings(max_session_minutes=minutes)
    assert settings.longest_drain_seconds > minutes * 60 + words + CLOSE_SECONDS
    assert Settings(drain_seconds=0).longest_drain_seconds == 0
