"""The journal's events: what one session says of itself, in the order in which it happened.

Six kinds, one JSON object each. `started`, `turn`, `marker` and `ended` become rows in Postgres;
`segment` and `progress` never do: they are what a recovery makes turns of when a job died before
the turn was final. Times are aware datetimes in UTC, offsets in the audio are not kept. Text is
clean before it gets here (`clean_text`): Postgres cannot store a NUL, UTF-8 no lone surrogate.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

IDENTITY_MAX_LENGTH = 512
"""Characters of a participant's identity that are kept; LiveKit itself sets no limit."""


class Role(StrEnum):
    CLIENT = "client"
    COACH = "coach"
    AI = "ai"


class EndReason(StrEnum):
    CLIENT_LEFT = "client_left"
    COACH_ENDED = "coach_ended"
    COMPLETED_BY_AI = "completed_by_ai"
    ROOM_DELETED = "room_deleted"
    WORKER_SHUTDOWN = "worker_shutdown"
    WORKER_LOST = "worker_lost"
    MAX_DURATION = "max_duration"
    ERROR = "error"


CANCELLING = frozenset({EndReason.WORKER_LOST, EndReason.ERROR})
"""End reasons that make a session `cancelled`; every other one makes it `completed`."""


class Completeness(StrEnum):
    COMPLETE = "complete"
    RECOVERED = "recovered"
    PARTIAL = "partial"


class Source(StrEnum):
    VOICE = "voice"
    TEXT = "text"
    TOOL = "tool"


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    at: datetime
    """When it happened, by the session's clock (one wall-clock anchor, monotonic since)."""


class Started(_Event):
    kind: Literal["started"] = "started"
    room_name: str
    room_sid: str | None = None
    job_id: str | None = None
    client_identity: str | None = None
    """The identity of the client as LiveKit gave it; known users are resolved by the shipper."""
    client_user: str | None = None
    """Whom the client claims to be: a user's id or identity, from token attributes or identity."""
    coach_user: str | None = None
    pipeline: str
    prompt_version: str
    language: str | None = None
    scenario_id: str | None = None


class Segment(_Event):
    """A final piece of speech as the recogniser gave it, not yet a turn."""

    kind: Literal["segment"] = "segment"
    segment_id: UUID
    role: Role
    speaker_identity: str | None
    speaker_user: str | None = None
    text: str
    confidence: float | None = None
    language: str | None = None
    source: Source = Source.VOICE
    started_at: datetime
    ended_at: datetime


class Progress(_Event):
    """What the AI has been heard to say so far in one reply; a later one replaces an earlier."""

    kind: Literal["progress"] = "progress"
    reply_id: str
    text: str
    generated_text: str | None = None
    started_at: datetime


class Turn(_Event):
    kind: Literal["turn"] = "turn"
    turn_id: UUID
    seq: int
    item_id: str
    role: Role
    speaker_identity: str | None
    speaker_user: str | None = None
    text: str
    generated_text: str | None = None
    interrupted: bool = False
    confidence: float | None = None
    language: str | None = None
    started_at: datetime
    ended_at: datetime
    source: Source = Source.VOICE
    metrics: dict[str, Any] = Field(default_factory=dict)
    segment_ids: tuple[UUID, ...] = ()
    """The segments that this turn absorbs."""
    reply_id: str | None = None
    """The reply whose `progress` this turn absorbs (AI only)."""


class Marker(_Event):
    """A typed, attributed happening, in order with the turns."""

    kind: Literal["marker"] = "marker"
    marker_id: UUID
    seq: int
    type: str
    role: Role | None = None
    speaker_identity: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    """Never what was said."""


class Receipt(BaseModel):
    """What a session proves about its own transcript when it ends."""

    model_config = ConfigDict(frozen=True)

    turn_count: int
    transcript_sha256: str
    completeness: Completeness
    reason: str | None = None
    """Why it is `partial`; null otherwise."""


class Ended(_Event):
    """The end, once; nothing comes after it. `at` is the session's end."""

    kind: Literal["ended"] = "ended"
    reason: EndReason
    receipt: Receipt


Event: TypeAlias = Started | Segment | Progress | Turn | Marker | Ended
EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def clean_text(text: str) -> str:
    """Return `text` as Postgres and UTF-8 can hold it: NUL and lone surrogates become U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def transcript_sha256(turns: Iterable[tuple[int, str, str, str | None, str, bool]]) -> str:
    """Return the hex SHA-256 of a transcript, the same from the journal and from Postgres.

    `turns` are `(seq, item_id, role, speaker_identity, text, interrupted)`, in any order; they are
    hashed by `seq`, one compact JSON array a line.
    """
    digest = hashlib.sha256()
    for turn in sorted(turns):
        digest.update(json.dumps(turn, ensure_ascii=False, separators=(",", ":")).encode())
        digest.update(b"\n")
    return digest.hexdigest()
