"""What keeps a conversation from the disk is said in its record, as soon as that can be written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from agent.worker.people import Person
from agent.worker.recorder import Recorder, Utterance
from agent.worker.scribe import Scribe
from persistence.events import Completeness, Ended, EndReason, Event, Marker, Role, Segment

CLIENT = Person(Role.CLIENT, "client-7", "7")


def test_trouble_of_the_journal_is_marked_once_while_the_session_runs_and_in_its_receipt() -> None:
    events: list[Event] = []
    journal: Any = SimpleNamespace(append=events.append, trouble=None)
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
    journal: Any = SimpleNamespace(append=events.append, trouble="read_only")
    Scribe(Recorder(CLIENT, "en"), journal).end(EndReason.CLIENT_LEFT)
    assert [type(e) for e in events] == [Marker, Ended]
