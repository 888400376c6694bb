"""How a session ends: once, for its true reason, also where the voice does not play along."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.agents import (
    CloseEvent,
    CloseReason,
    ConversationItemAddedEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
    llm,
)
from livekit.agents.voice.events import UserState

from agent.worker import ending as endings
from agent.worker import job as jobs
from agent.worker import listening
from agent.worker.absence import Absence
from agent.worker.ending import SETTLED_SECONDS, Ending
from agent.worker.listening import SpeechInFlight
from agent.worker.people import Person
from agent.worker.presence import Arrival
from agent.worker.recorder import Recorder
from agent.worker.scribe import Scribe
from persistence.events import Completeness, Ended, EndReason, Event, Role

CLIENT = Person(Role.CLIENT, "client-7", "7")
PATIENT = 1.0


class Voice(rtc.EventEmitter[str]):
    """An AgentSession as far as an ending sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.options = SimpleNamespace(session_close_transcript_timeout=PATIENT)
        self.stuck = False
        self.wordless = False

    async def interrupt(self, *, force: bool) -> None:
        assert force
        if self.stuck:
            await asyncio.Event().wait()

    async def aclose(self) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        if not self.wordless:
            self.emit("close", CloseEvent(reason=CloseReason.USER_INITIATED))

    def state(self, new: UserState) -> None:
        event = UserStateChangedEvent.model_construct(old_state="listening", new_state=new)
        self.emit("user_state_changed", event)

    def transcribe(self, text: str, *, final: bool) -> None:
        event = UserInputTranscribedEvent(transcript=text, is_final=final)
        self.emit("user_input_transcribed", event)

    def commit(self, text: str, *, typed: bool = False) -> None:
        confidence = None if typed else 0.9
        item = llm.ChatMessage(role="user", content=[text], transcript_confidence=confidence)
        self.emit("conversation_item_added", ConversationItemAddedEvent(item=item))


class Session:
    """One session's ending, and what it leads to."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.said_farewell = False
        self.room = rtc.EventEmitter[str]()
        self.stops: list[str] = []
        self.stop_asked = asyncio.Event()
        self.voice = Voice()
        journal = SimpleNamespace(append=lambda *new: self.events.extend(new), trouble=None)
        self.scribe = Scribe(Recorder(CLIENT, "en"), cast("Any", journal))
        self.in_flight = SpeechInFlight(self.scribe)
        context: Any = SimpleNamespace(room=self.room, shutdown=self.shutdown)
        self.ending = Ending(
            context, cast("Any", self.voice), self.scribe, self.in_flight, self.say_farewell
        )
        self.in_flight.follow(cast("Any", self.voice))
        self.ending.watch()

    @property
    def end(self) -> Ended:
        (end,) = [event for event in self.events if isinstance(event, Ended)]
        return end

    async def stopped(self) -> None:
        await asyncio.wait_for(self.stop_asked.wait(), 5)

    async def say_farewell(self) -> None:
        await asyncio.sleep(0)
        self.said_farewell = not any(isinstance(event, Ended) for event in self.events)

    def shutdown(self, reason: str) -> None:
        self.stops.append(reason)
        self.stop_asked.set()


@pytest.fixture
async def session() -> Session:
    return Session()


async def test_a_session_ends_once_and_the_first_reason_counts(session: Session) -> None:
    session.ending.end(EndReason.CLIENT_LEFT)
    session.ending.end(EndReason.MAX_DURATION)
    await session.stopped()
    session.room.emit("disconnected", rtc.DisconnectReason.ROOM_DELETED)
    session.ending.journal_end()
    assert session.end.reason is EndReason.CLIENT_LEFT
    assert session.end.receipt.completeness is Completeness.COMPLETE
    assert session.stops == [EndReason.CLIENT_LEFT]


async def test_a_voice_that_never_closes_does_not_keep_its_session_open(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt says that the last words may be missing."""
    monkeypatch.setattr(endings, "CLOSE_SECONDS", 0.01)
    session.voice.stuck = True
    session.ending.end(EndReason.CLIENT_LEFT)
    await session.stopped()
    assert session.end.reason is EndReason.CLIENT_LEFT
    assert session.end.receipt.completeness is Completeness.PARTIAL
    assert session.end.receipt.reason == "voice_not_closed"


async def test_a_voice_that_closes_without_a_word_does_not_keep_its_session_open(
    session: Session,
) -> None:
    """One that has broken down before says nothing more when it is closed."""
    await session.ending.voice_started()
    session.voice.wordless = True
    session.ending.end(EndReason.CLIENT_LEFT)
    await session.stopped()
    assert session.end.reason is EndReason.CLIENT_LEFT


async def test_a_session_that_ends_before_its_voice_has_started_ends_then(
    session: Session,
) -> None:
    session.voice.wordless = True  # as one is that has not started
    session.ending.end(EndReason.CLIENT_LEFT)
    await asyncio.sleep(0.01)
    assert session.stops == []
    session.voice.wordless = False
    await session.ending.voice_started()
    assert session.stops == [EndReason.CLIENT_LEFT]
    assert session.end.reason is EndReason.CLIENT_LEFT


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (rtc.DisconnectReason.ROOM_DELETED, EndReason.ROOM_DELETED),
        (rtc.DisconnectReason.ROOM_CLOSED, EndReason.CLIENT_LEFT),
        (rtc.DisconnectReason.STATE_MISMATCH, EndReason.ERROR),
    ],
)
async def test_a_room_that_goes_says_why(
    session: Session, reason: rtc.DisconnectReason.ValueType, expected: EndReason
) -> None:
    """LiveKit closes a room when everybody has left it: nobody deleted that one."""
    session.room.emit("disconnected", reason)
    await session.voice.aclose()
    assert session.end.reason is expected


async def test_a_voice_that_closes_without_being_asked_was_stopped_by_the_worker(
    session: Session,
) -> None:
    await session.voice.aclose()
    assert session.end.reason is EndReason.WORKER_SHUTDOWN


@pytest.mark.parametrize("leaving", [None, EndReason.CLIENT_LEFT])
async def test_a_job_that_fails_ends_its_session_as_an_error_unless_it_was_ending(
    session: Session, leaving: EndReason | None
) -> None:
    """The worker that closes its voice then has not been told to stop."""

    async def fail() -> None:
        raise RuntimeError

    if leaving is not None:
        session.ending.end(leaving)
    work = asyncio.create_task(fail())
    await asyncio.wait([work])
    given = SimpleNamespace(ending=session.ending)
    context: Any = SimpleNamespace(
        proc=SimpleNamespace(userdata={jobs._SESSION: given}), shutdown=session.shutdown
    )
    jobs._report_failure(context, work)
    await session.voice.aclose()
    assert session.end.reason is (leaving or EndReason.ERROR)
    assert "job failed" in session.stops


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (rtc.DisconnectReason.CLIENT_INITIATED, EndReason.CLIENT_LEFT),
        (rtc.DisconnectReason.USER_REJECTED, EndReason.CLIENT_LEFT),
        (rtc.DisconnectReason.ROOM_DELETED, EndReason.ROOM_DELETED),
        (rtc.DisconnectReason.CONNECTION_TIMEOUT, None),
    ],
)
async def test_who_leaves_on_purpose_ends_the_session_and_who_drops_out_does_not(
    session: Session, reason: rtc.DisconnectReason.ValueType, expected: EndReason | None
) -> None:
    watched(session)
    session.room.emit("participant_disconnected", participant(disconnect_reason=reason))
    await asyncio.sleep(0.02)
    assert bool(session.stops) == (expected is not None)
    assert expected is None or session.end.reason is expected


async def test_somebody_else_who_leaves_ends_nothing(session: Session) -> None:
    watched(session)
    other = participant("client-8", disconnect_reason=rtc.DisconnectReason.CLIENT_INITIATED)
    session.room.emit("participant_disconnected", other)
    await asyncio.sleep(0.02)
    assert (session.stops, session.events) == ([], [])


async def test_a_client_who_comes_back_within_the_grace_time_goes_on(session: Session) -> None:
    watched(session, grace_seconds=0.05)
    lost = participant(disconnect_reason=rtc.DisconnectReason.CONNECTION_TIMEOUT)
    session.room.emit("participant_disconnected", lost)
    session.room.emit("participant_connected", participant())
    await asyncio.sleep(0.1)
    assert session.stops == []
    session.room.emit("participant_disconnected", lost)
    await session.stopped()
    assert session.end.reason is EndReason.CLIENT_LEFT


async def test_a_client_who_drops_out_twice_and_comes_back_goes_on(session: Session) -> None:
    """The connection that was lost first is told of once more, as servers do after a fail-over."""
    watched(session, grace_seconds=0.05)
    lost = participant(disconnect_reason=rtc.DisconnectReason.CONNECTION_TIMEOUT)
    session.room.emit("participant_disconnected", lost)
    session.room.emit("participant_disconnected", lost)
    session.room.emit("participant_connected", participant())
    await asyncio.sleep(0.1)
    assert session.stops == []


async def test_a_client_who_was_gone_before_anybody_watched_has_a_grace_time_too(
    session: Session,
) -> None:
    watched(session, grace_seconds=0.01, there=False)
    await session.stopped()
    assert session.end.reason is EndReason.CLIENT_LEFT


STARTED, COMMITTED = "input_audio_buffer.speech_started", "input_audio_buffer.committed"
COMPLETED = "conversation.item.input_audio_transcription.completed"


class Provider(rtc.EventEmitter[str]):
    """A Realtime session as far as its events tell."""

    def tell(self, kind: str, **more: Any) -> None:
        self.emit("openai_server_event_received", {"type": kind, "item_id": "item-1", **more})


@pytest.fixture
async def provider(session: Session) -> Provider:
    provider = Provider()
    session.in_flight.follow_provider(cast("Any", provider))
    return provider


async def test_speech_that_has_begun_is_committed_and_its_transcript_waited_for(
    session: Session, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "ON_ITS_WAY_SECONDS", 0)
    provider.tell(STARTED)
    committed = asyncio.Event()
    settled = asyncio.create_task(session.in_flight.settled(committed.set))
    await asyncio.wait_for(committed.wait(), 10)
    for kind in (COMMITTED, COMPLETED):
        await asyncio.sleep(0)
        assert not settled.done()
        provider.tell(kind)
    await asyncio.wait_for(settled, 10)


async def test_speech_that_the_provider_ends_itself_while_its_last_sounds_come_is_not_committed(
    session: Session, provider: Provider
) -> None:
    provider.tell(STARTED)
    commits: list[bool] = []
    settled = asyncio.create_task(session.in_flight.settled(lambda: commits.append(True)))
    await asyncio.sleep(0)
    provider.tell(COMMITTED)
    provider.tell(COMPLETED)
    await asyncio.wait_for(settled, 10)
    assert commits == []


async def test_a_commit_of_nothing_is_not_waited_for(session: Session, provider: Provider) -> None:
    provider.tell(STARTED)
    refusal = {"code": "input_audio_buffer_commit_empty"}
    settled = session.in_flight.settled(lambda: provider.tell("error", error=refusal))
    await asyncio.wait_for(settled, 1)


async def test_what_a_provider_has_committed_is_not_committed_again(
    session: Session, provider: Provider
) -> None:
    for kind in (STARTED, COMMITTED, COMPLETED):
        provider.tell(kind)
    commits: list[bool] = []
    await asyncio.wait_for(session.in_flight.settled(lambda: commits.append(True)), 1)
    assert commits == []


async def test_a_provider_that_never_pays_is_not_waited_for_without_an_end(
    session: Session, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "TRANSCRIPT_SECONDS", 0.01)
    provider.tell(COMMITTED)
    await asyncio.wait_for(session.in_flight.settled(lambda: None), 1)
    session.ending.end(EndReason.CLIENT_LEFT)
    await session.stopped()
    assert session.end.receipt.reason == "transcript_pending"


@pytest.mark.parametrize(
    ("reason", "told", "missing"),
    [
        (EndReason.CLIENT_LEFT, (STARTED, COMMITTED, COMPLETED), None),
        (EndReason.CLIENT_LEFT, (STARTED,), "speech_unfinished"),
        (EndReason.CLIENT_LEFT, (), "speech_unfinished"),
        (EndReason.MAX_DURATION, (STARTED, COMMITTED, COMPLETED), "speech_unfinished"),
    ],
)
async def test_who_was_speaking_at_the_end_of_a_realtime_session_is_whole_if_gone_and_transcribed(
    session: Session,
    provider: Provider,
    reason: EndReason,
    told: tuple[str, ...],
    missing: str | None,
) -> None:
    """Who is still there goes on speaking: of that there is no transcript."""
    session.voice.state("speaking")
    for kind in told:
        provider.tell(kind)
    session.ending.end(reason)
    await session.stopped()
    assert session.end.receipt.reason == missing


async def test_a_close_is_quick_only_once_all_that_was_said_is_in_a_turn(session: Session) -> None:
    """A final text may be followed by one more word: the turn says that it was the last."""
    voice = session.voice
    voice.state("speaking")
    voice.transcribe("I sleep badly", final=True)
    voice.state("listening")
    assert session.in_flight.pending
    voice.commit("I sleep badly")
    assert not session.in_flight.pending
    session.ending.end(EndReason.CLIENT_LEFT)
    assert voice.options.session_close_transcript_timeout == SETTLED_SECONDS


async def test_words_are_unanswered_from_their_end_until_they_are_a_turn(session: Session) -> None:
    voice, seen = session.voice, []
    steps: list[Callable[[], None]] = [
        lambda: voice.state("speaking"),
        lambda: voice.transcribe("I sleep", final=True),
        lambda: voice.transcribe("badly", final=False),
        lambda: voice.state("listening"),
        lambda: voice.transcribe("badly", final=True),
        lambda: voice.commit("I sleep badly"),
    ]
    for step in steps:
        step()
        seen.append(session.in_flight.unanswered)
    assert seen == [False, False, False, False, True, False]


async def test_a_cough_after_words_leaves_them_unanswered(session: Session) -> None:
    session.voice.state("speaking")
    session.voice.transcribe("And my sister?", final=True)
    for state in ("listening", "speaking", "listening"):
        session.voice.state(state)
    assert session.in_flight.unanswered


async def test_a_close_waits_for_the_word_after_the_last_final_text(session: Session) -> None:
    voice = session.voice
    voice.state("speaking")
    voice.transcribe("I sleep badly", final=True)
    voice.state("listening")
    session.ending.end(EndReason.CLIENT_LEFT)
    assert voice.options.session_close_transcript_timeout == PATIENT


async def test_a_close_waits_for_words_that_were_spoken_although_others_were_typed_since(
    session: Session,
) -> None:
    session.voice.state("speaking")
    session.voice.transcribe("I sleep badly", final=True)
    session.voice.state("listening")
    session.voice.commit("I type this", typed=True)
    session.ending.end(EndReason.CLIENT_LEFT)
    assert session.voice.options.session_close_transcript_timeout == PATIENT


async def test_words_whose_final_text_a_broken_voice_never_gave_make_the_receipt_partial(
    session: Session,
) -> None:
    """A voice that closes with an error makes no turn of what it had of them."""
    session.voice.state("speaking")
    session.voice.transcribe("I sleep", final=False)
    session.voice.state("listening")
    session.voice.emit("close", CloseEvent(reason=CloseReason.ERROR))
    await session.stopped()
    assert session.end.receipt.reason == "speech_unfinished"


async def test_a_session_that_is_given_up_says_farewell_before_its_end_and_is_an_error(
    session: Session,
) -> None:
    session.ending.give_up()
    await session.stopped()
    assert session.said_farewell
    assert session.end.reason is EndReason.ERROR
    assert session.ending.for_good


async def test_a_voice_that_breaks_down_in_its_close_is_left_all_the_same(
    session: Session,
) -> None:
    """Seen with a dead Realtime connection: it raises in its close, or closes without a word."""
    session.voice.wordless = True
    session.ending.give_up()
    await session.stopped()
    assert session.end.reason is EndReason.ERROR


async def test_a_voice_that_closes_before_the_farewell_is_over_does_not_cut_it_off(
    session: Session,
) -> None:
    """The framework closes by itself what a provider has given up, whoever else does so."""
    session.ending.give_up()
    session.voice.emit("close", CloseEvent(reason=CloseReason.ERROR))
    await session.stopped()
    assert session.said_farewell
    assert session.stops == [EndReason.ERROR]
    assert session.end.reason is EndReason.ERROR


async def test_a_voice_that_breaks_down_leaves_no_session_without_a_farewell(
    session: Session,
) -> None:
    session.voice.emit("close", CloseEvent(reason=CloseReason.ERROR))
    await session.stopped()
    assert session.said_farewell
    assert session.end.reason is EndReason.ERROR
    assert session.ending.for_good


def watched(session: Session, grace_seconds: float = 60, *, there: bool = True) -> None:
    """Let the client be there, and an absence be noticed."""
    room: Any = session.room
    room.remote_participants = {"client-7": participant()} if there else {}
    absence = Absence(session.ending, session.scribe, grace_seconds=grace_seconds)
    context: Any = SimpleNamespace(room=room, is_fake_job=lambda: False)
    absence.watch(context, Arrival("client-7", CLIENT))


def participant(identity: str = "client-7", **more: Any) -> Any:
    return SimpleNamespace(identity=identity, **more)
