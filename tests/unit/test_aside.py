"""What the AI says beside the conversation is what was heard of it, and disturbs no reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc

from agent.worker import aside as asides
from agent.worker.aside import Aside
from agent.worker.people import Person
from agent.worker.phrases import RATE, Phrase
from agent.worker.recorder import Recorder, Utterance
from agent.worker.replies import Reply
from agent.worker.scribe import Scribe
from persistence.events import EndReason, Event, Progress, Role, Turn

CLIENT = Person(Role.CLIENT, "client-7", "7")
START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FRAME = rtc.AudioFrame(b"\0" * 2 * (RATE // 10), RATE, 1, RATE // 10)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def turns(events: list[Event]) -> list[Turn]:
    return [event for event in events if isinstance(event, Turn)]


def test_a_filler_in_the_middle_of_a_reply_takes_none_of_its_words() -> None:
    recorder, filler = Recorder(CLIENT, "en"), Reply("aside:1")
    filler.generate("One moment")
    events = recorder.generated(at(0), "speech_1", "Tell me more")
    events += recorder.aside(at(1), filler, "One")
    events += recorder.aside(at(2), filler, " moment")
    events += recorder.aside_over(at(2), interrupted=False)
    events += recorder.heard(at(3), "speech_1", "Tell me")
    item = Utterance(item_id="item_1", text="Tell me", interrupted=True)
    events += recorder.ai_turn(at(4), item)
    first, second = turns(events)
    assert (first.role, first.text, first.interrupted) == (Role.AI, "One moment", False)
    assert first.started_at == at(1)
    assert (second.text, second.generated_text) == ("Tell me", "Tell me more")
    progress = [event for event in events if isinstance(event, Progress)]
    assert {event.reply_id for event in progress} == {first.reply_id, second.reply_id}


def test_an_aside_that_the_end_cuts_off_is_an_interrupted_turn_before_it() -> None:
    recorder, farewell = Recorder(CLIENT, "en"), Reply("aside:1")
    farewell.generate("Good bye")
    recorder.aside(at(1), farewell, "Good")
    last, _ = recorder.end(at(2), EndReason.ROOM_DELETED)
    assert isinstance(last, Turn)
    assert (last.text, last.interrupted, last.generated_text) == ("Good", True, "Good bye")
    assert recorder.aside_over(at(3), interrupted=False) == []


class Source:
    """A track's source whose audio is played the moment it is given."""

    queued_duration = 0.0

    def __init__(self) -> None:
        self.on_frame: Callable[[], object] = list
        self.cleared = False

    async def capture_frame(self, _: rtc.AudioFrame) -> None:
        self.on_frame()

    def clear_queue(self) -> None:
        self.cleared = True


class Caption:
    def __init__(self) -> None:
        self.text = ""
        self.final = False

    async def write(self, text: str) -> None:
        self.text += text

    async def aclose(self, *, attributes: dict[str, str]) -> None:
        self.final = attributes["lk.transcription_final"] == "true"


class Stage:
    """An aside in a room that notes what is captioned and recorded."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.caption = Caption()
        self.source = Source()
        journal = SimpleNamespace(append=lambda *new: self.events.extend(new), trouble=None)
        scribe = Scribe(Recorder(CLIENT, "en"), cast("Any", journal))
        participant = SimpleNamespace(stream_text=self._opened)
        room = SimpleNamespace(local_participant=participant)
        phrases = SimpleNamespace(frames=self._frames)
        self.aside = Aside(cast("Any", room), cast("Any", phrases), scribe)
        self.aside._source = cast("Any", self.source)
        self.aside._make_track = self._track  # type: ignore[method-assign] # no room to publish in

    async def _opened(self, **_: Any) -> Caption:
        return self.caption

    async def _frames(self, *_: Any) -> list[rtc.AudioFrame]:
        return [FRAME] * 20

    async def _track(self) -> str:
        return "TR_aside"

    @property
    def turn(self) -> Turn:
        (turn,) = turns(self.events)
        return turn


async def test_a_phrase_that_was_heard_is_a_turn_and_a_final_caption() -> None:
    stage = Stage()
    await stage.aside.say(Phrase.APOLOGY, within=1)
    assert stage.turn.text == stage.caption.text == Phrase.APOLOGY.text
    assert not stage.turn.interrupted
    assert stage.caption.final
    assert not stage.aside.speaking


async def test_a_phrase_that_is_stopped_is_what_was_heard_of_it() -> None:
    frames, stage = iter(range(20)), Stage()

    def stop_at_half() -> None:
        if next(frames) == 9:
            stage.aside.stop()

    stage.source.on_frame = stop_at_half
    await stage.aside.say(Phrase.APOLOGY, within=1)
    assert stage.turn.interrupted
    assert stage.turn.text == stage.caption.text
    assert 0.3 < len(stage.turn.text) / len(Phrase.APOLOGY.text) < 0.6
    assert stage.source.cleared
    assert stage.caption.final


async def test_a_farewell_is_not_stopped() -> None:
    stage = Stage()
    stage.source.on_frame = stage.aside.stop
    await stage.aside.farewell()
    assert stage.turn.text == Phrase.FAREWELL.text
    assert not stage.turn.interrupted


async def test_a_track_that_is_never_published_does_not_silence_the_voice_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asides, "PHRASE_SECONDS", 0.01)
    stage = Stage()
    never: Any = asyncio.Event().wait
    monkeypatch.setattr(stage.aside, "_make_track", never)
    speaking = asyncio.create_task(stage.aside.say(Phrase.FILLER, within=0))
    await asyncio.sleep(0)
    assert stage.aside.speaking
    await asyncio.wait_for(stage.aside.over(), 5)
    await speaking


async def test_who_wants_to_speak_waits_for_the_end_of_it() -> None:
    stage = Stage()
    saying = asyncio.create_task(stage.aside.say(Phrase.FILLER, within=1))
    await asyncio.sleep(0)
    assert stage.aside.speaking
    await stage.aside.over()
    assert turns(stage.events)
    await saying


async def test_a_phrase_that_takes_too_long_leaves_nothing_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asides, "PHRASE_SECONDS", 0.05)
    stage = Stage()
    stage.source.queued_duration = 60
    before = asyncio.all_tasks()
    await stage.aside.say(Phrase.FILLER, within=1)
    assert asyncio.all_tasks() - before <= {stage.aside._published}


async def test_a_room_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()

    async def gone() -> str:
        raise RuntimeError("room is not connected")

    monkeypatch.setattr(stage.aside, "_make_track", gone)
    await stage.aside.say(Phrase.FILLER, within=1)
    assert turns(stage.events) == []
    assert not stage.aside.speaking


def test_the_words_of_a_phrase_come_in_their_order_before_its_end() -> None:
    timed = asides._timed("One moment, please.", 2.0)
    assert "".join(word for _, word in timed) == "One moment, please."
    ends = [end for end, _ in timed]
    assert ends == sorted(ends)
    assert ends[-1] < 2.0
