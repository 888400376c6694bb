"""What keeps a conversation from the disk is said in its record, as soon as that can be written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.worker.clock import SessionClock
from agent.worker.people import Person
from agent.worker.recorder import Recorder, Utterance
from agent.worker.scribe import Scribe
from persistence.events import (
    Completeness,
    Ended,
    EndReason,
    Event,
    Marker,
    Progress,
    Role,
    Segment,
    Turn,
)

CLIENT = Person(Role.CLIENT, "client-7", "7")


def test_trouble_of_the_journal_is_marked_once_while_the_session_runs_and_in_its_receipt() -> None:
    events: list[Event] = []
    journal: Any = SimpleNamespace(append=lambda *new: events.extend(new), trouble=None)
    scribe = Scribe(Recorder(CLIENT, "en"), journal)

    def say(text: str) -> None:
        scribe.write(lambda now: scribe.recorder.segment(now, Utterance("", text), CLIENT))

    say("Before.")
    assert [type(e) for e in events] == [Segment]
    journal.trouble = "disk_full"
    say("Meanwhile.")
    say("After.")
    markers = [e for e in events if isinstance(e, Marker)]
    assert [(m.type, m.data) for m in markers] == [("journal_degraded", {"trouble": "disk_full"})]
    scribe.end(EndReason.CLIENT_LEFT)
    (end,) = [e for e in events if isinstance(e, Ended)]
    assert end.receipt.completeness is Completeness.PARTIAL
    assert end.receipt.reason == "disk_full"


def test_trouble_that_only_the_end_learns_of_is_marked_before_it() -> None:
    events: list[Event] = []
    journal: Any = SimpleNamespace(append=lambda *new: events.extend(new), trouble="read_only")
    Scribe(Recorder(CLIENT, "en"), journal).end(EndReason.CLIENT_LEFT)
    assert [type(e) for e in events] == [Marker, Ended]


def test_what_cannot_be_recorded_disturbs_nobody_and_makes_the_receipt_partial() -> None:
    events: list[Event] = []
    scribe = Scribe(Recorder(CLIENT, "en"), cast("Any", Journal(events)))

    def fail(_: object) -> list[Event]:
        raise ValueError("what a mistake of ours would raise")

    scribe.write(fail)
    scribe.end(EndReason.CLIENT_LEFT)
    [end] = [e for e in events if isinstance(e, Ended)]
    assert (end.receipt.completeness, end.receipt.reason) == (
        Completeness.PARTIAL,
        "recording_failed",
    )


@dataclass
class Journal:
    events: list[Event]
    trouble: str | None = None

    def append(self, *events: Event) -> None:
        self.events.extend(events)


def test_a_moment_that_another_clock_puts_into_the_future_is_now() -> None:
    clock = SessionClock()
    assert clock.at(time.time() + 3600) <= clock.now()
    assert clock.at(time.time() - 60) < clock.now() - timedelta(seconds=30)


def test_a_session_begins_by_the_clock_that_its_job_holds_steady(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its journal goes by that one, too: a jump between the two would stretch its life."""
    monkeypatch.setattr(time, "time", lambda: 3600.0)
    assert SessionClock().now().timestamp() - 3600 < 60


def test_what_belongs_together_is_given_to_the_journal_together() -> None:
    """A crash between a turn and the rest of its reply would lose that."""
    given: list[list[type[Event]]] = []
    journal: Any = SimpleNamespace(
        append=lambda *new: given.append([type(event) for event in new]), trouble=None
    )
    scribe = Scribe(Recorder(CLIENT, "en"), journal)
    scribe.write(lambda now: scribe.recorder.heard(now, "s", "Good. And then?"))
    item = Utterance("a", "Good.")
    scribe.write(lambda now: scribe.recorder.ai_turn(now, item))
    scribe.write(lambda now: scribe.recorder.ai_turn(now, item))
    assert given == [[Progress], [Turn, Progress]]
