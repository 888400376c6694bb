"""What an unfinished journal becomes: the turns that nobody got to say were final, and the end.

Pure: records in, events out, the same for the same records. What a recovery adds absorbs what it
was made of, so a second one over its first half adds just the other half.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID, uuid5

from persistence.events import (
    Completeness,
    Ended,
    EndReason,
    Event,
    Marker,
    Progress,
    Receipt,
    Role,
    Segment,
    Turn,
    transcript_sha256,
)

_TURN_IDS = UUID("6d0b4b1e-5f0c-5a53-9c39-6a6b4f0e7c1d")
"""Namespace of the ids of promoted turns: a second recovery gives the same rows."""


def recovered_end(
    records: Sequence[Event],
    *,
    last_sign: datetime,
    reason: EndReason,
    torn: int = 0,
    trouble: str | None = None,
) -> list[Event]:
    """Return the events that finish a session whose job died; none if it has ended.

    `last_sign` is the job's last sign of life, `torn` counts the bytes that could not be read,
    `trouble` says why the job may have held more than it wrote. A journal without a single event
    ends too: its session was born.
    """
    if any(isinstance(event, Ended) for event in records):
        return []
    promoted = promoted_turns(records, at=last_sign)
    turns = [event for event in records if isinstance(event, Turn)]
    receipt = receipt_of([*turns, *promoted], trouble=trouble, recovered=True, torn=torn)
    return [*promoted, Ended(at=last_sign, reason=reason, receipt=receipt)]


def promoted_turns(records: Sequence[Event], *, at: datetime) -> list[Turn]:
    """Return turns, recorded `at`, for all speech that no turn absorbs, in spoken order.

    They number on from the highest `seq`. Speech without words is none.
    """
    turns = [event for event in records if isinstance(event, Turn)]
    item_ids = {turn.item_id for turn in turns}
    found = [*_loose_segments(records, turns, at), *_loose_progress(records, turns, at)]
    found = [turn for turn in found if turn.text.strip() and turn.item_id not in item_ids]
    found.sort(key=lambda turn: turn.started_at)
    last = max((e.seq for e in records if isinstance(e, Turn | Marker)), default=0)
    return [turn.model_copy(update={"seq": last + n}) for n, turn in enumerate(found, start=1)]


def _loose_segments(records: Iterable[Event], turns: Iterable[Turn], at: datetime) -> list[Turn]:
    absorbed = {segment_id for turn in turns for segment_id in turn.segment_ids}
    loose = {
        event.segment_id: event
        for event in records
        if isinstance(event, Segment) and event.segment_id not in absorbed
    }
    return [turn_of_segment(segment, at) for segment in loose.values()]


def turn_of_segment(segment: Segment, at: datetime) -> Turn:
    """Return a segment that no turn absorbed as a turn, recorded `at`, not yet numbered."""
    item_id = f"segment:{segment.segment_id}"
    return Turn(
        at=at,
        turn_id=uuid5(_TURN_IDS, item_id),
        seq=0,
        item_id=item_id,
        role=segment.role,
        speaker_identity=segment.speaker_identity,
        speaker_user=segment.speaker_user,
        text=segment.text,
        confidence=segment.confidence,
        language=segment.language,
        started_at=segment.started_at,
        ended_at=segment.ended_at,
        source=segment.source,
        segment_ids=(segment.segment_id,),
    )


def _loose_progress(records: Iterable[Event], turns: Iterable[Turn], at: datetime) -> list[Turn]:
    absorbed = {turn.reply_id for turn in turns}
    last = {
        event.reply_id: event
        for event in records
        if isinstance(event, Progress) and event.reply_id not in absorbed
    }
    return [turn_of_progress(progress, at) for progress in last.values()]


def turn_of_progress(progress: Progress, at: datetime) -> Turn:
    """Return what was heard of a reply as an interrupted turn, recorded `at`, not yet numbered."""
    item_id = f"progress:{progress.reply_id}"
    # The framework may give a reply's id again in another session; with its start it is unique.
    name = f"{item_id}@{progress.started_at.timestamp()}"
    generated = progress.generated_text
    return Turn(
        at=at,
        turn_id=uuid5(_TURN_IDS, name),
        seq=0,
        item_id=item_id,
        role=Role.AI,
        speaker_identity=None,
        text=progress.text,
        generated_text=generated if generated != progress.text else None,
        interrupted=True,
        started_at=progress.started_at,
        ended_at=max(progress.at, progress.started_at),
        reply_id=progress.reply_id,
    )


def receipt_of(
    turns: Iterable[Turn], *, trouble: str | None, recovered: bool, torn: int = 0
) -> Receipt:
    """Return what the session proves about its transcript.

    `trouble`: why its journal was ever degraded; `recovered`: whether another than its job ended
    it; `torn`: bytes of its journal that could not be read. The first turn of an `item_id` counts.
    """
    unique: dict[str, Turn] = {}
    for turn in turns:
        unique.setdefault(turn.item_id, turn)
    reasons = [trouble] if trouble else []
    if torn:
        reasons.append(f"{torn} bytes of the journal are unreadable")
    completeness = Completeness.RECOVERED if recovered else Completeness.COMPLETE
    return Receipt(
        turn_count=len(unique),
        transcript_sha256=transcript_sha256(
            (t.seq, t.item_id, t.role, t.speaker_identity, t.text, t.interrupted)
            for t in unique.values()
        ),
        completeness=Completeness.PARTIAL if reasons else completeness,
        reason="; ".join(reasons) or None,
    )
