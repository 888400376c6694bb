"""What the events of a journal are as rows: pure, the same rows for the same events.

A row is a mapping of the parameters that the statements in `sessions` and `turns` name. Who
somebody is in `users` is looked up by Postgres: a row carries the claim alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Json, Jsonb
from pydantic_core import to_json

from persistence.events import (
    CANCELLING,
    Completeness,
    Ended,
    Event,
    Marker,
    Role,
    Started,
    Turn,
    clean_text,
)
from persistence.journal import Record

Row = Mapping[str, Any]

DEAD_LETTERS = "events refused by the database"
DAMAGED = "journal damaged"

_PREFIXES = ("client-", "coach-", "user-")
_FOR_RECOVERY = frozenset({"segment", "progress"})


def makes_rows(record: Record) -> bool:
    """Return whether its event is stored: `segment` and `progress` are for recovery alone."""
    return record.kind not in _FOR_RECOVERY


def as_json(rows: Sequence[Row]) -> Json:
    """Return rows for a statement that takes many."""
    return json_of(to_json(rows))


def json_of(text: bytes) -> Json:
    """Return what is JSON already, for a statement."""
    return Json(text, dumps=bytes)


def names_of(identity: str | None) -> list[str]:
    """Return what `identity` may be called in `users`: itself, and itself without its prefix."""
    if not identity:
        return []
    return [identity, *(identity.removeprefix(p) for p in _PREFIXES if identity.startswith(p))]


def claim(parameter: str, *claims: str | None) -> dict[str, Any]:
    """Return the parameters to look a user up by the first of `claims` that is made."""
    names = names_of(next((made for made in claims if made), None))
    return {
        f"{parameter}_id": next(filter(None, map(_uuid, names)), None),
        f"{parameter}_names": names,
    }


def _uuid(text: str) -> UUID | None:
    try:
        parsed = UUID(text)
    except ValueError:
        return None
    return parsed if str(parsed) == text.lower() else None


Somebody = tuple[str | None, str | None]
"""The identity of a person, and whom that person claims to be."""


def somebody_in(event: Event | None) -> Somebody:
    """Return of whom `event` speaks."""
    if isinstance(event, Started):
        return event.client_identity, event.client_user
    if isinstance(event, Turn):
        return event.speaker_identity, event.speaker_user
    return (event.speaker_identity, None) if isinstance(event, Marker) else (None, None)


def speaker_of(record: Record) -> Somebody:
    """Return of whom the record's event speaks, if it is one that is stored."""
    if record.turn is not None:
        return record.turn.speaker_identity, record.turn.speaker_user
    return somebody_in(record.event) if makes_rows(record) else (None, None)


def names_in(people: Iterable[Somebody]) -> set[str]:
    """Return by which names they are spoken of: what an erasure may have forbidden."""
    return {name for person in people for identity in person for name in names_of(identity)}


def people_of(event: Event | None) -> set[str]:
    """Return by which names `event` speaks of somebody."""
    return names_in([somebody_in(event)])


def session_row(
    session_id: UUID,
    worker_id: UUID | None,
    started: Started | None,
    first_at: datetime,
    last_turn_at: datetime | None,
) -> Row:
    """Return the row of a session, as much of it as is known before its end.

    `first_at` is the time of its first event: its start, where `started` is not there.
    """
    return {
        "id": session_id,
        "worker_id": worker_id,
        "room_name": started and started.room_name,
        "room_sid": started and started.room_sid,
        "job_id": started and started.job_id,
        "client_identity": started and started.client_identity,
        "pipeline": started and started.pipeline,
        "prompt_version": started and started.prompt_version,
        "language": started and started.language,
        "scenario_id": started and started.scenario_id,
        "started_at": started.at if started else first_at,
        "start_known": started is not None,
        "last_turn_at": last_turn_at,
        **claim("client", *((started.client_user, started.client_identity) if started else ())),
        **claim("coach", started.coach_user if started else None),
    }


def turn_row(session_id: UUID, turn: Turn) -> Row:
    """Return the row of a turn; the AI is no user."""
    speaker = () if turn.role is Role.AI else (turn.speaker_user, turn.speaker_identity)
    return {
        "id": turn.turn_id,
        "session_id": session_id,
        "seq": turn.seq,
        "item_id": turn.item_id,
        "role": turn.role.value,
        "speaker_identity": turn.speaker_identity,
        "text": turn.text,
        "generated_text": turn.generated_text,
        "interrupted": turn.interrupted,
        "confidence": turn.confidence,
        "language": turn.language,
        "started_at": turn.started_at,
        "ended_at": turn.ended_at,
        "recorded_at": turn.at,
        "source": turn.source.value,
        "metrics": Jsonb(turn.metrics),
        **claim("speaker", *speaker),
    }


def turn_lines(session_id: UUID, records: Iterable[Record]) -> list[bytes]:
    """Return turns, read at a glance, as the JSON that `turns.insert_lines` takes."""
    opening = b'{"session_id":"%b",' % str(session_id).encode()
    return [opening + record.payload[1:] for record in records]


def speaker_claims(people: Iterable[Somebody]) -> list[Row]:
    """Return what `turns.insert_lines` has to know of the speakers, as claimed in their turns."""
    claims = {claimed or identity for identity, claimed in people}
    return [{"claim": made, **claim("speaker", made)} for made in claims if made]


def marker_row(session_id: UUID, marker: Marker) -> Row:
    return {
        "id": marker.marker_id,
        "session_id": session_id,
        "seq": marker.seq,
        "type": marker.type,
        "role": marker.role and marker.role.value,
        "speaker_identity": marker.speaker_identity,
        "at": marker.at,
        "data": Jsonb(marker.data),
    }


def end_row(session_id: UUID, ended: Ended, *, damaged: bool) -> Row:
    """Return the end of a session; `damaged` says that its journal held what is no event."""
    receipt = ended.receipt
    reasons = [receipt.reason and clean_text(receipt.reason), DAMAGED if damaged else None]
    return {
        "id": session_id,
        "status": "cancelled" if ended.reason in CANCELLING else "completed",
        "ended_at": ended.at,
        "end_reason": ended.reason.value,
        "turn_count": receipt.turn_count,
        "transcript_sha256": clean_text(receipt.transcript_sha256),
        "completeness": (Completeness.PARTIAL if damaged else receipt.completeness).value,
        "completeness_reason": "; ".join(filter(None, reasons)) or None,
        "dead_letters": DEAD_LETTERS,
    }


def speaker_row(session_id: UUID, identity: str, claimed: str | None) -> Row:
    """Return whose turns are to be given their user, once that is known."""
    return {
        "session_id": session_id,
        "speaker_identity": identity,
        **claim("speaker", claimed, identity),
    }
