"""A line of a journal says the same at a glance as read whole."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shipping import ended, marker, started, turn

from persistence.events import Event, Progress, Role, Segment, Source, Turn
from persistence.journal.records import ProgressLine, Record, SegmentLine, TurnLine, glanced, whole

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
MAYBE = st.none() | TEXT
TIMES = st.datetimes(
    timezones=st.sampled_from(range(-14, 15)).map(lambda hours: timezone(timedelta(hours=hours)))
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=5,
)
SPOKEN = {
    "role": st.sampled_from(Role),
    "speaker_identity": MAYBE,
    "speaker_user": MAYBE,
    "confidence": st.none() | st.floats(0, 1),
    "language": MAYBE,
    "source": st.sampled_from(Source),
    "started_at": TIMES,
    "ended_at": TIMES,
    "text": TEXT,
    "at": TIMES,
}
EVENTS = st.one_of(
    st.builds(Segment, segment_id=st.uuids(), **SPOKEN),
    st.builds(Progress, at=TIMES, reply_id=TEXT, text=TEXT, generated_text=MAYBE, started_at=TIMES),
    st.builds(
        Turn,
        turn_id=st.uuids(),
        seq=st.integers(),
        item_id=TEXT,
        generated_text=MAYBE,
        interrupted=st.booleans(),
        metrics=st.dictionaries(TEXT, JSON),
        segment_ids=st.lists(st.uuids()).map(tuple),
        reply_id=MAYBE,
        **SPOKEN,
    ),
)


@given(EVENTS)
def test_any_event_that_journals_are_full_of_is_told_by_a_glance(event: Event) -> None:
    payload = event.model_dump_json().encode()
    seen = glanced(payload)
    assert seen is not None
    assert seen.made is None, "read whole: a glance was not enough"
    assert told(seen) == told(whole(payload))
    assert seen.event == event


@pytest.mark.parametrize("event", [started(), marker(uuid4(), 1), ended()])
def test_what_is_rare_is_read_whole(event: Event) -> None:
    seen = glanced(event.model_dump_json().encode())
    assert seen is not None
    assert seen.made == event


@pytest.mark.parametrize(
    "change",
    [
        {"seq": "7"},
        {"interrupted": 1},
        {"mood": "calm"},
        {"session_id": str(uuid4())},
        {"seq": ...},
    ],
)
def test_a_line_of_another_version_is_taken_as_it_always_was(change: dict[str, Any]) -> None:
    """What a statement would read where it stands is exactly what this version writes."""
    fields = {**turn(uuid4(), 7).model_dump(mode="json"), **change}
    payload = json.dumps({n: v for n, v in fields.items() if v is not ...}).encode()
    seen, known = glanced(payload), whole(payload)
    assert (seen is None) == (known is None) == (... in change.values())
    if seen is not None:
        assert seen.turn is not None
        assert not seen.turn.plain
        assert told(seen) == told(known)


@pytest.mark.parametrize("text", [rb"\ud800", b"\xff", b"\xed\xa0\x80", b"\x01"])
def test_what_is_no_text_is_no_event_either_way(text: bytes) -> None:
    payload = turn(uuid4(), 1, text="TEXT").model_dump_json().encode().replace(b"TEXT", text)
    assert glanced(payload) is whole(payload) is None


@pytest.mark.parametrize(
    ("line", "event"), [(TurnLine, Turn), (SegmentLine, Segment), (ProgressLine, Progress)]
)
def test_a_glance_knows_every_field(line: type[msgspec.Struct], event: type[Event]) -> None:
    assert {*line.__struct_fields__, "kind"} == set(event.model_fields)


def told(record: Record | None) -> tuple[object, ...]:
    assert record is not None
    turn = record.turn
    spoken: tuple[str | datetime | None, ...] = ()
    if turn is not None:
        spoken = (turn.item_id, turn.speaker_identity, turn.speaker_user, turn.ended_at)
    return record.kind, record.at, record.payload, spoken
