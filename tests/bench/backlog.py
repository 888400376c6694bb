"""Journals for a shipper to ship: of nothing but turns, or as conversations leave them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import uuid_utils.compat as uuids

from persistence.events import (
    Completeness,
    Ended,
    EndReason,
    Event,
    Progress,
    Receipt,
    Role,
    Segment,
    Started,
    Turn,
)
from persistence.journal.lines import encode

SAID = "I slept badly again this week, and it shows at work: I lose patience with everyone."
METRICS = {"transcription_delay": 0.21, "end_of_turn_delay": 0.52, "llm_node_ttft": 0.34}
PROGRESS_A_REPLY = 4
TURNS_A_SESSION = 100


def write(folder: Path, sessions: int, *, talk: bool) -> int:
    """Write the journals of `sessions` that have ended, durably; return how many turns they hold.

    With `talk` every turn has before it what a conversation leaves on the way to it: a segment of
    the client's, four states of the AI's reply.
    """
    folder.mkdir()
    for _ in range(sessions):
        session_id = uuids.uuid7()
        lines = b"".join(map(encode, _session(talk=talk)))
        with (folder / f"{session_id}.journal").open("wb") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
    return sessions * TURNS_A_SESSION


def _session(*, talk: bool) -> Iterator[Event]:
    at = datetime.now(UTC) - timedelta(hours=1)
    yield Started(
        at=at, room_name="bench", client_identity="client-7", pipeline="stt", prompt_version="1"
    )
    for seq in range(1, TURNS_A_SESSION + 1):
        at += timedelta(seconds=3)
        yield from _spoken(at, seq) if talk else [turn(at, seq)]
    receipt = Receipt(
        turn_count=TURNS_A_SESSION, transcript_sha256="00", completeness=Completeness.COMPLETE
    )
    yield Ended(at=at, reason=EndReason.CLIENT_LEFT, receipt=receipt)


def _spoken(at: datetime, seq: int) -> Iterator[Event]:
    said = turn(at, seq)
    if said.role is Role.CLIENT:
        segment_id = uuids.uuid7()
        yield Segment(
            at=at,
            segment_id=segment_id,
            role=said.role,
            speaker_identity=said.speaker_identity,
            text=said.text,
            confidence=said.confidence,
            started_at=said.started_at,
            ended_at=said.ended_at,
        )
        yield said.model_copy(update={"segment_ids": (segment_id,)})
        return
    for part in range(1, PROGRESS_A_REPLY + 1):
        heard = said.text[: len(said.text) * part // PROGRESS_A_REPLY]
        yield Progress(at=at, reply_id=said.item_id, text=heard, started_at=at)
    yield said.model_copy(update={"reply_id": said.item_id})


def turn(at: datetime, seq: int) -> Turn:
    """Return a turn of the client, or every second one of the AI."""
    role = Role.CLIENT if seq % 2 else Role.AI
    turn_id: UUID = uuids.uuid7()
    return Turn(
        at=at,
        turn_id=turn_id,
        seq=seq,
        item_id=f"item_{turn_id.hex}",
        role=role,
        speaker_identity="client-7" if role is Role.CLIENT else "agent",
        text=SAID,
        confidence=0.97 if role is Role.CLIENT else None,
        started_at=at - timedelta(seconds=2),
        ended_at=at,
        metrics=METRICS,
    )
