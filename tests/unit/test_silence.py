"""Who has spoken hears something: an answer, a filler, an apology or a farewell."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.agents import (
    AgentStateChangedEvent,
    ErrorEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
)
from livekit.agents.voice.events import AgentState, UserState

from agent.worker import silence as silences
from agent.worker.phrases import Phrase
from agent.worker.silence import Silence


class Voice(rtc.EventEmitter[str]):
    """An AgentSession as far as a silence is heard in it."""

    def __init__(self) -> None:
        super().__init__()
        self.user_state: UserState = "listening"
        self.agent_state: AgentState = "listening"
        self.current_speech: object | None = None
        self.llm = None
        self.interrupted = 0

    def interrupt(self) -> None:
        self.interrupted += 1
        self.current_speech = None

    def client(self, new: UserState, at: float | None = None) -> None:
        old, self.user_state = self.user_state, new
        self.emit(
            "user_state_changed",
            UserStateChangedEvent.model_construct(
                old_state=old, new_state=new, created_at=at or time.time()
            ),
        )

    def ai(self, new: AgentState) -> None:
        old, self.agent_state = self.agent_state, new
        self.emit(
            "agent_state_changed",
            AgentStateChangedEvent.model_construct(old_state=old, new_state=new),
        )

    def hear(self, text: str) -> None:
        event = UserInputTranscribedEvent(transcript=text, is_final=True)
        self.emit("user_input_transcribed", event)

    def fail(self, kind: str, *, recoverable: bool = False) -> None:
        error: Any = SimpleNamespace(type=kind, recoverable=recoverable)
        self.emit("error", ErrorEvent.model_construct(error=error, source=None))

    def drop(self, *, interrupted: bool = False) -> None:
        """Let an answer fail before it is heard."""
        done: list[Any] = []
        handle = SimpleNamespace(
            interrupted=interrupted, exception=RuntimeError, add_done_callback=done.append
        )
        self.emit("speech_created", SimpleNamespace(speech_handle=handle))
        for callback in done:
            callback(handle)

    def speak(self, words: str = "I sleep badly", seconds: float = 1.0) -> None:
        """Let the client say something."""
        self.client("speaking", time.time() - seconds)
        if words:
            self.hear(words)
        self.client("listening")


class Aside:
    """Notes what is said beside the conversation."""

    def __init__(self) -> None:
        self.prepared = 0
        self.stopped = 0
        self.said: asyncio.Queue[Phrase] = asyncio.Queue()

    def prepare(self, *_: Phrase) -> None:
        self.prepared += 1

    def stop(self) -> None:
        self.stopped += 1

    async def say(self, phrase: Phrase, *, within: float) -> None:
        assert within < 1, "who has waited so long does not wait for a better voice"
        self.said.put_nowait(phrase)


class Session:
    def __init__(self) -> None:
        self.voice, self.aside = Voice(), Aside()
        self.missed: list[str] = []
        self.given_up = asyncio.Event()
        recorder = SimpleNamespace(miss=self.missed.append, marker=lambda *_: [])
        scribe = SimpleNamespace(recorder=recorder, write=lambda make: make(None))
        Silence(
            cast("Any", self.voice),
            cast("Any", self.aside),
            cast("Any", scribe),
            self.given_up.set,
        ).watch()

    async def hears(self) -> Phrase:
        return await asyncio.wait_for(self.aside.said.get(), 5)

    async def nothing(self) -> bool:
        """Whether nothing is said in the time in which it would be."""
        await asyncio.sleep(silences.NOTICE_SECONDS * 3)
        return self.aside.said.empty()

    def answer(self) -> None:
        for state in ("thinking", "speaking", "listening"):
            self.voice.ai(state)


@pytest.fixture
async def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(silences, "PREPARE_SECONDS", 0.03)
    monkeypatch.setattr(silences, "NOTICE_SECONDS", 0.06)
    made = Session()
    made.answer()  # the greeting
    return made


async def test_an_answer_in_time_is_left_alone_and_nothing_is_prepared_for_it(
    session: Session,
) -> None:
    session.voice.speak()
    session.answer()
    assert await session.nothing()
    assert session.aside.prepared == 0


async def test_an_answer_under_way_gets_a_filler_and_another_and_is_then_lost(
    session: Session,
) -> None:
    session.voice.speak()
    session.voice.ai("thinking")
    session.voice.current_speech = object()
    assert await session.hears() == Phrase.FILLER
    assert await session.hears() == Phrase.FILLER
    assert await session.hears() == Phrase.APOLOGY
    assert session.voice.interrupted == 1
    assert await session.nothing()


async def test_words_that_lead_to_no_answer_are_apologised_for(session: Session) -> None:
    session.voice.speak()
    assert await session.hears() == Phrase.APOLOGY
    assert session.missed == []


async def test_speech_without_words_is_asked_for_again_and_missed_in_the_receipt(
    session: Session,
) -> None:
    session.voice.speak(words="")
    assert await session.hears() == Phrase.APOLOGY
    assert session.missed == ["speech_unheard"]


async def test_a_noise_is_no_speech(session: Session) -> None:
    session.voice.speak(words="", seconds=0.3)
    assert await session.nothing()
    assert session.missed == []


async def test_a_short_word_counts_while_the_recogniser_is_in_trouble(session: Session) -> None:
    session.voice.fail("stt_error")
    session.voice.speak(words="", seconds=0.3)
    assert await session.hears() == Phrase.APOLOGY


async def test_who_goes_on_speaking_is_waited_for(session: Session) -> None:
    session.voice.speak()
    session.voice.client("speaking")
    assert await session.nothing()
    assert session.aside.stopped == 2


async def test_an_answer_that_a_provider_gave_up_is_apologised_for_at_once(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silences, "NOTICE_SECONDS", 60)
    session.voice.speak()
    session.voice.ai("thinking")
    session.voice.drop()
    assert await session.hears() == Phrase.APOLOGY


async def test_an_answer_that_was_begun_too_early_and_failed_is_no_loss(
    session: Session,
) -> None:
    session.voice.speak()
    session.voice.drop(interrupted=True)
    session.answer()
    assert await session.nothing()


async def test_a_realtime_connection_that_is_given_up_is_the_end(session: Session) -> None:
    session.voice.fail("realtime_model_error", recoverable=True)
    assert not session.given_up.is_set()
    session.voice.fail("realtime_model_error")
    assert session.given_up.is_set()
    session.voice.speak()
    assert await session.nothing()


async def test_an_answer_that_breaks_off_is_apologised_for(session: Session) -> None:
    session.voice.speak()
    session.voice.ai("thinking")
    session.voice.ai("speaking")
    session.voice.fail("tts_error")
    session.voice.ai("listening")
    assert await session.hears() == Phrase.APOLOGY


async def test_a_fault_that_was_overcome_is_no_loss(session: Session) -> None:
    session.voice.speak()
    session.voice.ai("thinking")
    session.voice.fail("llm_error", recoverable=True)
    session.voice.ai("speaking")
    session.voice.ai("listening")
    assert await session.nothing()


async def test_a_greeting_that_cannot_be_made_is_a_welcome(session: Session) -> None:
    fresh = Session()
    fresh.voice.ai("thinking")
    fresh.voice.drop()
    assert await fresh.hears() == Phrase.WELCOME


async def test_three_losses_in_a_row_are_the_end_and_an_answer_begins_the_count_anew(
    session: Session,
) -> None:
    for expected in (Phrase.APOLOGY, Phrase.APOLOGY):
        session.voice.speak()
        assert await session.hears() == expected
    session.voice.speak()
    session.answer()
    for _ in range(2):
        session.voice.speak()
        assert await session.hears() == Phrase.APOLOGY
    assert not session.given_up.is_set()
    session.voice.speak()
    await asyncio.wait_for(session.given_up.wait(), 5)
    assert session.aside.said.empty()


async def test_a_recogniser_that_fails_for_long_is_the_end_though_nobody_speaks(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silences, "DEAD_SECONDS", 0.05)
    session.voice.fail("stt_error")
    assert not session.given_up.is_set()
    await asyncio.sleep(0.06)
    session.voice.fail("stt_error")
    assert session.given_up.is_set()


async def test_a_recogniser_that_hears_again_is_not_given_up(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silences, "DEAD_SECONDS", 0.05)
    session.voice.fail("stt_error", recoverable=True)
    session.voice.hear("I sleep badly")
    await asyncio.sleep(0.06)
    session.voice.fail("stt_error", recoverable=True)
    assert not session.given_up.is_set()


async def test_failures_of_a_recogniser_with_peace_between_them_are_not_one(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silences, "DEAD_SECONDS", 0.05)
    monkeypatch.setattr(silences, "APART_SECONDS", 0.02)
    session.voice.fail("stt_error")
    await asyncio.sleep(0.06)
    session.voice.fail("stt_error")
    assert not session.given_up.is_set()
