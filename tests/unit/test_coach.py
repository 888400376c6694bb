"""The coach's ears: what is kept of a recogniser's account that breaks off or changes hands."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, APIError, ErrorEvent, ModelSettings, stt
from livekit.agents.stt import SpeechEventType as Type

from agent.worker.aside import Aside
from agent.worker.clock import SessionClock
from agent.worker.coach import Coach, HeardText
from agent.worker.listening import SpeechInFlight
from agent.worker.people import Person
from agent.worker.recorder import Recorder
from agent.worker.scribe import Scribe
from persistence.events import Event, Progress, Role, Segment

CLIENT = Person(Role.CLIENT, "client-7", "7")


class Ears:
    """A coach, and the events that a recogniser gives it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept: list[Event] = []
        self.missed: list[str] = []
        self.voice = rtc.EventEmitter[str]()
        self.adapter: Any = None
        recorder = Recorder(CLIENT, "en")
        monkeypatch.setattr(recorder, "miss", self.missed.append)
        clock = SessionClock()
        scribe = SimpleNamespace(
            recorder=recorder, clock=clock, write=lambda make: self.kept.extend(make(clock.now()))
        )
        self.coach = Coach(
            instructions="",
            greeting="",
            scribe=cast("Scribe", scribe),
            aside=cast("Aside", None),
            in_flight=SpeechInFlight(cast("Scribe", scribe)),
        )

    @property
    def segments(self) -> list[str]:
        return [event.text for event in self.kept if isinstance(event, Segment)]

    async def hear(self, *events: stt.SpeechEvent) -> None:
        async def heard(*_: object) -> AsyncGenerator[stt.SpeechEvent, None]:
            for event in events:
                yield event

        async def no_audio() -> AsyncIterator[rtc.AudioFrame]:
            return
            yield

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Agent.default, "stt_node", heard)
            async for _ in self.coach.stt_node(no_audio(), ModelSettings()):
                pass


@pytest.fixture
async def ears(monkeypatch: pytest.MonkeyPatch) -> Ears:
    """Return a coach in a session whose recogniser may be changed."""
    ears = Ears(monkeypatch)

    class Adapter(stt.FallbackAdapter):
        def __init__(self) -> None:
            rtc.EventEmitter.__init__(self)

    ears.adapter = Adapter()
    session: Any = ears.voice
    session.stt, session.user_state = ears.adapter, "listening"
    session.generate_reply = lambda **_: None
    monkeypatch.setattr(Coach, "session", cast("AgentSession[None]", session))
    await ears.coach.on_enter()
    return ears


def event(kind: Type, *words: str) -> stt.SpeechEvent:
    return stt.SpeechEvent(
        type=kind, alternatives=[stt.SpeechData(language=cast("Any", "en"), text=w) for w in words]
    )


def changed(ears: Ears, *, available: bool) -> None:
    ears.adapter.emit(
        "stt_availability_changed",
        stt.AvailabilityChangedEvent(stt=cast("Any", None), available=available),
    )


async def test_words_whose_recogniser_goes_are_kept_as_far_as_they_came(ears: Ears) -> None:
    await ears.hear(event(Type.INTERIM_TRANSCRIPT, "I have been"))
    changed(ears, available=False)
    assert (ears.segments, ears.missed) == (["I have been"], ["speech_cut_off"])


async def test_a_recogniser_that_is_back_cuts_no_words_of_the_one_that_hears(ears: Ears) -> None:
    await ears.hear(event(Type.INTERIM_TRANSCRIPT, "I have been"))
    changed(ears, available=True)
    await ears.hear(event(Type.FINAL_TRANSCRIPT, "I have been away"))
    assert (ears.segments, ears.missed) == (["I have been away"], [])


async def test_words_that_the_recogniser_took_back_were_never_said(ears: Ears) -> None:
    await ears.hear(event(Type.INTERIM_TRANSCRIPT, "yeah"), event(Type.END_OF_SPEECH))
    fault = stt.STTError(timestamp=0.0, label="", error=APIError("gone"), recoverable=True)
    ears.voice.emit("error", ErrorEvent(error=fault, source=cast("Any", None)))
    assert (ears.segments, ears.missed) == ([], [])


async def test_the_last_words_of_a_speech_are_not_put_into_the_one_that_is_on_when_they_come() -> (
    None
):
    """They are told of once the captions are written to the room; a crash would tell them twice."""
    kept: list[Event] = []
    journal: Any = SimpleNamespace(append=lambda *new: kept.extend(new), trouble=None)
    heard = HeardText(Scribe(Recorder(CLIENT, "en"), journal))
    voice: Any = SimpleNamespace(current_speech=SimpleNamespace(id="first"))
    heard.follow(voice)
    await heard.capture_text("Sleep")
    voice.current_speech = SimpleNamespace(id="second")
    await heard.capture_text(" well.")
    heard.flush()
    await heard.capture_text("Good bye.")
    told = [(e.reply_id, e.text) for e in kept if isinstance(e, Progress)]
    assert told == [("first", "Sleep"), ("first", "Sleep well."), ("second", "Good bye.")]
