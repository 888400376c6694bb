"""Sessions that other agents recorded: reported here, kept and worked on like this one's own."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path
from pydantic import AfterValidator, Field, JsonValue, model_validator

from agent.api.auth import Db, Scope, needs
from agent.api.errors import ApiError, documented
from agent.api.shapes import (
    GivenTime,
    Name,
    Number,
    SessionStatus,
    Shape,
    Whole,
    YesNo,
    example,
    of_the_past,
    storable,
)
from agent.jobs import after_session
from agent.worker.people import ROLE_NAMES
from persistence import reported
from persistence.events import EndReason, Role, Source, Started, Turn
from persistence.ids import derived_id
from persistence.reported import End, Refusal

router = APIRouter(
    prefix="/api/internal/sessions",
    tags=["internal"],
    dependencies=[Depends(needs(Scope.INTERNAL))],
)

MOST_TURNS = 500
LONGEST_TEXT = 20_000
MOST_METRICS = 50
HIGHEST_SEQ = 2**31 - 1

_SESSION: JsonValue = {
    "roomName": "demo",
    "clientIdentity": "client-ada",
    "startedAt": "2026-11-20T09:00:00Z",
    "pipeline": "phone",
}
_STARTED: JsonValue = {"sessionId": "01934d3a-8d5e-7c1a-9b1e-0f4a5c6d7e8f", "status": "active"}
_TRANSCRIPT: JsonValue = {
    "turns": [
        {
            "itemId": "call-7-1",
            "seq": 1,
            "speakerRole": "client",
            "speakerIdentity": "client-ada",
            "content": "I slept badly.",
            "timestamp": "2026-11-20T09:00:02.500Z",
            "endTime": "2026-11-20T09:00:04Z",
            "confidence": 0.94,
        }
    ],
    "ended": {"at": "2026-11-20T09:30:00Z", "reason": "client_left", "turnCount": 1},
}
_KEPT: JsonValue = {
    "sessionId": "01934d3a-8d5e-7c1a-9b1e-0f4a5c6d7e8f",
    "status": "completed",
    "turnCount": 1,
    "added": 1,
    "dropped": 0,
}

PastTime = Annotated[GivenTime, AfterValidator(of_the_past)]
Said = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT), AfterValidator(storable)]


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    return text


class ReportedSession(Shape):
    id: UUID | None = Field(
        None, description="Else the same room and start are the same session, whose id is given."
    )
    room_name: Name
    room_sid: Name | None = None
    client_identity: Name | None = None
    client_id: UUID | None = Field(None, description="The user's id.")
    coach_id: UUID | None = Field(None, description="The user's id.")
    pipeline: Name = Field("external", description="How the session ran.")
    prompt_version: Name = "unknown"
    language: Name | None = None
    scenario_id: Name | None = None
    started_at: PastTime

    model_config = example(_SESSION)


class StartedSession(Shape):
    session_id: UUID
    status: SessionStatus

    model_config = example(_STARTED)


class ReportedTurn(Shape):
    item_id: Name = Field(description="The turn's own in its session: told twice, it is one.")
    seq: Whole = Field(
        ge=1, le=HIGHEST_SEQ, description="Its own in its session, in the order of recording."
    )
    speaker_role: Literal["client", "user", "coach", "ai", "assistant", "agent"]
    speaker_identity: Name | None = None
    speaker_id: UUID | None = Field(None, description="The user's id.")
    content: Annotated[Said, AfterValidator(_not_blank)]
    generated_content: Said | None = Field(None, description="What the AI meant to say.")
    interrupted: YesNo = False
    confidence: Number | None = Field(None, ge=0, le=1)
    language: Name | None = None
    timestamp: PastTime
    end_time: PastTime | None = Field(None, description="Else `timestamp`; never before it.")
    source: Source = Source.VOICE
    metrics: dict[Name, Number] = Field(
        default_factory=dict, max_length=MOST_METRICS, description="Latencies, in seconds."
    )

    @property
    def role(self) -> Role:
        return ROLE_NAMES[self.speaker_role]

    @property
    def ended_at(self) -> datetime:
        return max(self.timestamp, self.end_time or self.timestamp)


class ReportedEnd(Shape):
    at: PastTime
    reason: EndReason
    turn_count: Whole | None = Field(
        None, ge=0, le=HIGHEST_SEQ, description="With another one the transcript is `partial`."
    )


class ReportedTranscript(Shape):
    turns: list[ReportedTurn] = Field(default_factory=list, max_length=MOST_TURNS)
    ended: ReportedEnd | None = Field(None, description="With the last turns, or after them.")

    @model_validator(mode="after")
    def _each_once(self) -> ReportedTranscript:
        if len({turn.item_id for turn in self.turns}) < len(self.turns):
            raise ValueError("has two turns with one itemId")
        if len({turn.seq for turn in self.turns}) < len(self.turns):
            raise ValueError("has two turns with one seq")
        return self

    model_config = example(_TRANSCRIPT)


class KeptTranscript(Shape):
    session_id: UUID
    status: SessionStatus
    turn_count: int = Field(description="How many turns of the session are stored now.")
    added: int = Field(description="How many of these turns were not there before.")
    dropped: int = Field(description="How many were said by somebody who was erased.")

    model_config = example(_KEPT)


@router.post("", status_code=201, responses=documented(400, 401, 403, 409, 413, 503))
async def report_session(db: Db, told: ReportedSession) -> StartedSession:
    """Take note of a session; the same one told twice is one."""
    session_id = told.id or derived_id(told.started_at, told.room_name)
    outcome = await reported.session(db, session_id, _started(told), after_session.defer)
    if isinstance(outcome, Refusal):
        raise _refused(outcome)
    return StartedSession.model_validate({"session_id": session_id, "status": outcome})


@router.post(
    "/{sessionId}/transcript",
    status_code=201,
    responses=documented(400, 401, 403, 404, 409, 413, 503),
)
async def report_transcript(
    db: Db, session_id: Annotated[UUID, Path(alias="sessionId")], told: ReportedTranscript
) -> KeptTranscript:
    """Take what was said in a reported session, and its end; turns told twice are there once.

    A session of which nothing happened for a day, and no end was told, is ended as `worker_lost`;
    what is told of it later takes that back.
    """
    said = [_turn(session_id, turn) for turn in told.turns]
    outcome = await reported.transcript(db, session_id, said, _end(told.ended), after_session.defer)
    if isinstance(outcome, Refusal):
        raise _refused(outcome)
    return KeptTranscript.model_validate({"session_id": session_id, **outcome._asdict()})


def _refused(refusal: Refusal) -> ApiError:
    unknown = refusal is Refusal.UNKNOWN
    return ApiError(HTTPStatus.NOT_FOUND if unknown else HTTPStatus.CONFLICT, refusal.value)


def _started(told: ReportedSession) -> Started:
    return Started(
        at=told.started_at,
        room_name=told.room_name,
        room_sid=told.room_sid,
        client_identity=told.client_identity,
        client_user=told.client_id and str(told.client_id),
        coach_user=told.coach_id and str(told.coach_id),
        pipeline=told.pipeline,
        prompt_version=told.prompt_version,
        language=told.language,
        scenario_id=told.scenario_id,
    )


def _end(told: ReportedEnd | None) -> End | None:
    return End(told.at, told.reason, told.turn_count) if told else None


def _turn(session_id: UUID, told: ReportedTurn) -> Turn:
    return Turn(
        at=told.ended_at,
        turn_id=derived_id(told.timestamp, str(session_id), told.item_id),
        seq=told.seq,
        item_id=told.item_id,
        role=told.role,
        speaker_identity=told.speaker_identity,
        speaker_user=told.speaker_id and str(told.speaker_id),
        text=told.content,
        generated_text=told.generated_content if told.role is Role.AI else None,
        interrupted=told.interrupted,
        confidence=told.confidence,
        language=told.language,
        started_at=told.timestamp,
        ended_at=told.ended_at,
        source=told.source,
        metrics=dict(told.metrics),
    )
