"""A session's rows as the dashboards know them: sessions in a list, messages in a transcript.

The AI has no user: it is `ai-agent`, "AI Coach". An imported session has no turns but one text,
whose lines become messages.
"""

from __future__ import annotations

from typing import Any, assert_never
from uuid import UUID

from pydantic import Field, JsonValue

from agent.api.shapes import SessionStatus, Shape, Time, example
from persistence import legacy, ratings, search, transcripts
from persistence.events import Role
from persistence.transcripts import SessionRow, TurnRow

AI_ID = "ai-agent"
AI_NAME = "AI Coach"

_SESSION_EXAMPLE: dict[str, JsonValue] = {
    "id": "01934d3a-8d5e-7c1a-9b1e-0f4a5c6d7e8f",
    "clientId": "01934d3a-0000-7000-8000-000000000001",
    "clientName": "Ada",
    "startTime": "2026-11-21T09:00:00.000Z",
    "endTime": "2026-11-21T09:31:30.000Z",
    "durationMinutes": 32,
    "messageCount": 84,
    "status": "completed",
    "completeness": "complete",
    "roomName": "demo",
    "roomSid": "RM_5t2Wx9Q3c7Lk",
}
_MESSAGE_EXAMPLE: JsonValue = {
    "id": "01934d3a-9f00-7c1a-9b1e-0f4a5c6d7e8f",
    "sessionId": "01934d3a-8d5e-7c1a-9b1e-0f4a5c6d7e8f",
    "speakerId": "ai-agent",
    "speakerName": "AI Coach",
    "speakerRole": "ai",
    "content": "What would a good week",
    "timestamp": "2026-11-21T09:00:04.120Z",
    "endTime": "2026-11-21T09:00:05.480Z",
    "seq": 2,
    "interrupted": True,
    "generatedContent": "What would a good week look like?",
    "source": "voice",
}


_TRANSCRIPT_EXAMPLE: JsonValue = {
    **_SESSION_EXAMPLE,
    "sessionId": "01934d3a-8d5e-7c1a-9b1e-0f4a5c6d7e8f",
    "messages": [_MESSAGE_EXAMPLE],
    "endReason": "client_left",
    "receipt": {"turnCount": 84, "transcriptSha256": "9f86d081884c7d65…", "kept": True},
}


class Excerpt(Shape):
    """A piece of what was said; begins or ends with "…" where there is more of it."""

    text: str
    places: list[tuple[int, int]] = Field(
        description="Start and end of each word in `text`, in UTF-16 code units."
    )


class Hit(Shape):
    """A message in which words that were searched for were said."""

    message_id: str
    speaker_role: Role
    places: list[tuple[int, int]] = Field(
        description="Start and end of each word in `content`, in UTF-16 code units."
    )
    excerpt: Excerpt | None = Field(
        None, description="What was said around the first place; of the first 3 messages alone."
    )


class Rating(Shape):
    """What the client thought of the session."""

    rating: int = Field(description="From 1 to 5.")
    comment: str | None = None
    created_at: Time


class Session(Shape):
    id: UUID
    client_id: str = Field(description="The user's id, else the identity; empty if unknown.")
    client_name: str = Field(description="Empty if unknown.")
    coach_id: str | None = None
    coach_name: str | None = None
    start_time: Time
    end_time: Time | None = None
    duration_minutes: int = Field(description="Whole minutes, halves up; so far, while active.")
    message_count: int
    status: SessionStatus
    completeness: str | None = Field(None, description="complete, recovered or partial.")
    room_name: str | None = None
    room_sid: str | None = Field(None, description="LiveKit's id of the room that it ran in.")
    hits: list[Hit] | None = Field(None, description="Of a search: the first 20 messages.")

    model_config = example(_SESSION_EXAMPLE)


class Message(Shape):
    id: str
    session_id: UUID
    speaker_id: str
    speaker_name: str
    speaker_role: Role
    content: str = Field(description="What was said; of the AI, what was really heard.")
    timestamp: Time
    confidence: float | None = Field(None, description="Of the recogniser, 0 to 1.")
    end_time: Time | None = None
    seq: int | None = Field(None, description="The order of recording in the session, from 1.")
    interrupted: bool | None = None
    generated_content: str | None = Field(None, description="What the AI meant to say.")
    language: str | None = None
    source: str | None = Field(None, description="voice, text or tool.")
    metrics: dict[str, Any] | None = Field(None, description="Latencies, in seconds.")

    model_config = example(_MESSAGE_EXAMPLE)


class Receipt(Shape):
    """What the session said of its own transcript when it ended."""

    turn_count: int | None
    transcript_sha256: str
    reason: str | None = Field(None, description="Why the transcript is partial.")
    kept: bool = Field(description="Whether the turns are those that the receipt names.")


class Transcript(Session):
    session_id: UUID
    messages: list[Message]
    end_reason: str | None = None
    summary: str | None = None
    pipeline: str | None = None
    language: str | None = None
    receipt: Receipt | None = None
    rating: Rating | None = None

    model_config = example(_TRANSCRIPT_EXAMPLE)


def session(row: SessionRow, hits: list[search.Hit] | None = None) -> Session:
    """Return the session as a list shows it; `hits` are those of a search."""
    found = None if hits is None else [_hit(hit) for hit in hits]
    return Session(**_session_fields(row), hits=found)


def _hit(hit: search.Hit) -> Hit:
    excerpt = hit.excerpt and Excerpt(text=hit.excerpt.text, places=hit.excerpt.places)
    return Hit(message_id=hit.message_id, speaker_role=hit.role, places=hit.places, excerpt=excerpt)


def transcript(
    row: SessionRow, turns: list[TurnRow], rating: ratings.Rating | None = None
) -> Transcript:
    """Return the session with everything that was said in it."""
    return Transcript(
        **_session_fields(row),
        session_id=row.id,
        messages=_messages(row, turns),
        end_reason=row.end_reason,
        summary=row.ai_summary,
        pipeline=row.pipeline,
        language=row.language,
        receipt=_receipt(row, turns),
        rating=rating
        and Rating(rating=rating.rating, comment=rating.comment, created_at=rating.created_at),
    )


def _receipt(row: SessionRow, turns: list[TurnRow]) -> Receipt | None:
    if row.receipt_sha256 is None:
        return None
    return Receipt(
        turn_count=row.receipt_turn_count,
        transcript_sha256=row.receipt_sha256,
        reason=row.completeness_reason,
        kept=transcripts.keeps_receipt(row, turns),
    )


def _session_fields(row: SessionRow) -> dict[str, Any]:
    """Return the fields of a `Session`."""
    return {
        "id": row.id,
        "client_id": _id(row.client_id, row.client_identity) or "",
        "client_name": _client_name(row) or "",
        "coach_id": _id(row.coach_id, row.coach_identity),
        "coach_name": _coach_name(row),
        "start_time": row.started_at,
        "end_time": row.ended_at,
        "duration_minutes": transcripts.whole_minutes(row.duration_seconds),
        "message_count": row.turn_count or len(legacy.parse(row.legacy_transcript or "")),
        "status": row.status,
        "completeness": row.completeness,
        "room_name": row.room_name,
        "room_sid": row.room_sid,
    }


def _messages(row: SessionRow, turns: list[TurnRow]) -> list[Message]:
    """Return what was said in the session, in order."""
    if turns or row.legacy_transcript is None:
        return [message(row, turn) for turn in turns]
    return [_of_line(row, line) for line in legacy.parse(row.legacy_transcript)]


def message(row: SessionRow, turn: TurnRow) -> Message:
    """Return a turn of a session as a message."""
    role = Role(turn.role)
    speaker_id, speaker_name = _speaker(row, role)
    if role is not Role.AI:
        speaker_id = _id(turn.user_id, turn.speaker_identity) or speaker_id
        name = transcripts.name_of(turn.display_name, turn.email, turn.speaker_identity)
        speaker_name = name or speaker_name
    return Message(
        id=str(turn.id),
        session_id=row.id,
        speaker_id=speaker_id,
        speaker_name=speaker_name,
        speaker_role=role,
        content=turn.text,
        timestamp=turn.started_at,
        confidence=turn.confidence,
        end_time=turn.ended_at,
        seq=turn.seq,
        interrupted=turn.interrupted,
        generated_content=turn.generated_text,
        language=turn.language,
        source=turn.source,
        metrics=turn.metrics,
    )


def _of_line(row: SessionRow, line: legacy.LegacyMessage) -> Message:
    speaker_id, speaker_name = _speaker(row, line.role)
    return Message(
        id=legacy.message_id(row.id, line),
        session_id=row.id,
        speaker_id=speaker_id,
        speaker_name=speaker_name,
        speaker_role=line.role,
        content=line.text,
        timestamp=row.started_at,
    )


def _speaker(row: SessionRow, role: Role) -> tuple[str, str]:
    """Return id and name of whoever has `role` in the session; empty if unknown."""
    match role:
        case Role.AI:
            return AI_ID, AI_NAME
        case Role.CLIENT:
            return _id(row.client_id, row.client_identity) or "", _client_name(row) or ""
        case Role.COACH:
            return _id(row.coach_id, row.coach_identity) or "", _coach_name(row) or ""
    assert_never(role)


def _id(user_id: UUID | None, identity: str | None) -> str | None:
    return str(user_id) if user_id else identity


def _client_name(row: SessionRow) -> str | None:
    return transcripts.name_of(row.client_display_name, row.client_email, row.client_identity)


def _coach_name(row: SessionRow) -> str | None:
    return transcripts.name_of(row.coach_display_name, row.coach_email, row.coach_identity)
