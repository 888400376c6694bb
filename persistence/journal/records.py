"""What one line of a journal says, read no further than its reader needs.

A checksum has vouched for the line, so that what is left to find out is whether this version knows
the event. For the kinds that journals are full of, `turn`, `segment` and `progress`, a glance tells
that at a quarter of what it costs to make the event. It takes a line only as this version writes
it: every field, no other, each of its own type; whatever looks different is read whole.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
from pydantic import ValidationError

from persistence.events import EVENTS, Event, Role, Source, Turn


class _Line(msgspec.Struct, tag_field="kind", forbid_unknown_fields=True, gc=False):
    at: datetime


class SegmentLine(_Line, tag="segment"):
    segment_id: UUID
    role: Role
    speaker_identity: str | None
    speaker_user: str | None
    text: str
    confidence: float | None
    language: str | None
    source: Source
    started_at: datetime
    ended_at: datetime


class ProgressLine(_Line, tag="progress"):
    reply_id: str
    text: str
    generated_text: str | None
    started_at: datetime


class TurnLine(_Line, tag="turn"):
    turn_id: UUID
    seq: int
    item_id: str
    role: Role
    speaker_identity: str | None
    speaker_user: str | None
    text: str
    generated_text: str | None
    interrupted: bool
    confidence: float | None
    language: str | None
    started_at: datetime
    ended_at: datetime
    source: Source
    metrics: dict[str, Any]
    segment_ids: list[UUID]
    reply_id: str | None


Line: TypeAlias = TurnLine | SegmentLine | ProgressLine
_OTHERS: dict[type[Line], str] = {SegmentLine: "segment", ProgressLine: "progress"}
_BRACE = ord("{")
_GLANCE: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


class Spoken(msgspec.Struct, frozen=True, gc=False):
    """What the shipper has to know of a turn."""

    item_id: str
    speaker_identity: str | None
    speaker_user: str | None
    ended_at: datetime
    plain: bool
    """Whether all the rest of it can be read where it stands."""


class Record(msgspec.Struct, gc=False):  # many at a time, none of them in a cycle
    """One event of a journal, and the line that it was read from."""

    payload: bytes
    """The JSON of the line, as it stands there."""
    kind: str
    at: datetime
    turn: Spoken | None = None
    """Of a turn alone."""
    made: Event | None = None

    @property
    def event(self) -> Event:
        """The event; made now, if a glance was all so far."""
        if self.made is None:
            self.made = EVENTS.validate_json(self.payload)
        return self.made


def whole(payload: bytes) -> Record | None:
    """Return the record of a line's JSON, its event made; None if no event is known like that.

    Such a line was written by another version: it stays where it is, and is counted.
    """
    try:
        return record_of(EVENTS.validate_json(payload), payload)
    except ValidationError:
        return None


def record_of(event: Event, payload: bytes) -> Record:
    """Return the record of an event whose JSON is `payload`."""
    spoken = _spoken(event, plain=False) if isinstance(event, Turn) else None
    return Record(payload, event.kind, event.at, spoken, event)


def glanced(payload: bytes) -> Record | None:
    """Return the same, its event not made yet where a glance is enough."""
    try:
        line = _GLANCE.decode(payload)
    except ValueError:  # msgspec's errors are all of these
        return whole(payload)
    if type(line) is TurnLine:
        plain = payload[0] == _BRACE
        return Record(payload, "turn", line.at, _spoken(line, plain=plain))
    return Record(payload, _OTHERS[type(line)], line.at)


def _spoken(turn: Turn | TurnLine, *, plain: bool) -> Spoken:
    return Spoken(turn.item_id, turn.speaker_identity, turn.speaker_user, turn.ended_at, plain)
