"""Whether a stored session is what it says of itself: its turns, its receipt, its end, its worker.

Pure: what was read of a session in, a verdict out.

Not every session can prove its transcript, and not each of those is a loss: one that runs has no
receipt yet, one that was imported never had one, a reclaim gives a provisional end without one, and
what was archived or erased is gone on purpose. Such a session has a standing of its own, and no
problem. What has a problem needs a person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, TypeVar
from uuid import UUID

from persistence.events import CANCELLING, Completeness, transcript_sha256

Item = TypeVar("Item", int, str)

_LISTED = 5
"""How many numbers a detail names; the rest are counted."""


class Standing(StrEnum):
    """What a session may be expected to prove."""

    PROVEN = "proven"
    """It has ended, and its turns are those that its receipt names."""
    ACTIVE = "active"
    PROVISIONAL = "provisional"
    """Reclaimed from a lost worker: the receipt comes with its journal, if that ever comes."""
    IMPORTED = "imported"
    """Another system's: a text, or turns that no worker of ours recorded."""
    ARCHIVED = "archived"
    ERASED = "erased"
    """A tombstone stands for it, or for somebody who spoke in it."""
    WRONG = "wrong"
    """It has at least one problem."""


class Problem(StrEnum):
    """What is wrong; the value is for programs, `ADVICE` for people."""

    RECEIPT_BROKEN = "receipt_broken"
    NO_RECEIPT = "no_receipt"
    COUNT_WRONG = "turn_count_wrong"
    SEQ_MISSING = "seq_missing"
    SEQ_DOUBLED = "seq_doubled"
    ITEM_DOUBLED = "item_doubled"
    NO_END_REASON = "no_end_reason"
    STATUS_WRONG = "status_wrong"
    NO_PARTIAL_REASON = "no_partial_reason"
    WORKER_GONE = "worker_gone"
    DEAD_LETTERS = "dead_letters"
    SESSION_MISSING = "session_missing"


ADVICE: dict[Problem, str] = {
    Problem.RECEIPT_BROKEN: "the turns stored are not those that were recorded",
    Problem.NO_RECEIPT: "it ended by its journal, and without a receipt",
    Problem.COUNT_WRONG: "it has not as many turns as its receipt says",
    Problem.SEQ_MISSING: "numbers are missing between its turns and markers",
    Problem.SEQ_DOUBLED: "two turns or markers have one number",
    Problem.ITEM_DOUBLED: "one utterance is stored twice",
    Problem.NO_END_REASON: "it ended, and nothing says why",
    Problem.STATUS_WRONG: "its status and its end reason contradict each other",
    Problem.NO_PARTIAL_REASON: "it is partial, and nothing says what is missing",
    Problem.WORKER_GONE: "it is active, and no worker with a live lease has it",
    Problem.DEAD_LETTERS: "Postgres refused events of it: see `coach deadletters list`",
    Problem.SESSION_MISSING: "Postgres refused events of a session that it does not have",
}


class StoredTurn(NamedTuple):
    seq: int
    item_id: str
    role: str
    speaker_identity: str | None
    text: str
    interrupted: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """A session as Postgres holds it, with what else tells of it."""

    id: UUID
    status: str
    started_at: datetime
    end_reason: str | None
    turn_count: int | None
    transcript_sha256: str | None
    completeness: str | None
    completeness_reason: str | None
    is_reclaimed: bool
    is_archived: bool
    has_legacy_transcript: bool
    worker_id: UUID | None
    worker_alive: bool
    """Whether its worker's lease runs, by Postgres's clock."""
    dead_letters: int
    is_erased: bool
    identities: Sequence[str | None] = ()
    """Who is known to have taken part."""
    turns: Sequence[StoredTurn] = ()
    marker_seqs: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with one session; `detail` holds numbers and codes, never what was said."""

    session_id: UUID
    problem: Problem
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    session_id: UUID
    standing: Standing
    findings: Sequence[Finding] = ()


def verdict(stored: Stored) -> Verdict:
    """Return what is to be said of a session."""
    found = [Finding(stored.id, problem, detail) for problem, detail in _problems(stored)]
    return Verdict(stored.id, Standing.WRONG if found else _standing(stored), found)


def _standing(stored: Stored) -> Standing:
    """Return what a session can be expected to prove."""
    if stored.is_erased:
        return Standing.ERASED
    if stored.is_archived:
        return Standing.ARCHIVED
    if stored.status == "active":
        return Standing.ACTIVE
    if stored.is_reclaimed:
        return Standing.PROVISIONAL
    if stored.transcript_sha256 is None and _is_foreign(stored):
        return Standing.IMPORTED
    return Standing.PROVEN


def _is_foreign(stored: Stored) -> bool:
    return stored.worker_id is None or (stored.has_legacy_transcript and not stored.turns)


Problems = list[tuple[Problem, str]]


def _problems(stored: Stored) -> Problems:
    standing = _standing(stored)
    found: Problems = []
    if stored.dead_letters:
        found.append((Problem.DEAD_LETTERS, f"{stored.dead_letters} refused"))
    if standing is Standing.ERASED or standing is Standing.ARCHIVED:
        return found
    found += _doubles(stored)
    match standing:
        case Standing.ACTIVE:
            if stored.worker_id is not None and not stored.worker_alive:
                found.append((Problem.WORKER_GONE, f"worker {stored.worker_id}"))
        case Standing.PROVISIONAL:
            found += _contradictions(stored)
        case Standing.IMPORTED:
            pass
        case _:
            found += _contradictions(stored)
            if not stored.dead_letters:  # else it is known what is missing, and why
                found += _unlike_receipt(stored)
    return found


def _doubles(stored: Stored) -> Problems:
    found: Problems = []
    seqs = _repeated([turn.seq for turn in stored.turns] + list(stored.marker_seqs))
    if seqs:
        found.append((Problem.SEQ_DOUBLED, f"seq {_listed(seqs)}"))
    items = _repeated([turn.item_id for turn in stored.turns])
    if items:
        numbers = sorted(turn.seq for turn in stored.turns if turn.item_id in items)
        found.append((Problem.ITEM_DOUBLED, f"seq {_listed(numbers)}"))
    return found


def _repeated(values: Collection[Item]) -> list[Item]:
    return sorted(value for value, times in Counter(values).items() if times > 1)


def _contradictions(stored: Stored) -> Problems:
    found: Problems = []
    if stored.end_reason is None:
        found.append((Problem.NO_END_REASON, stored.status))
    elif (stored.end_reason in CANCELLING) != (stored.status == "cancelled"):
        found.append((Problem.STATUS_WRONG, f"{stored.status}, {stored.end_reason}"))
    if stored.completeness == Completeness.PARTIAL and not stored.completeness_reason:
        found.append((Problem.NO_PARTIAL_REASON, ""))
    return found


def _unlike_receipt(stored: Stored) -> Problems:
    if None in (stored.transcript_sha256, stored.completeness, stored.turn_count):
        return [(Problem.NO_RECEIPT, stored.completeness or "")]
    found: Problems = []
    if len(stored.turns) != stored.turn_count:
        detail = f"{len(stored.turns)} stored, {stored.turn_count} in the receipt"
        found.append((Problem.COUNT_WRONG, detail))
    if transcript_sha256(stored.turns) != stored.transcript_sha256:
        found.append((Problem.RECEIPT_BROKEN, stored.completeness_reason or ""))
    if stored.worker_id is not None and stored.completeness != Completeness.PARTIAL:
        seqs = {turn.seq for turn in stored.turns} | set(stored.marker_seqs)
        if missing := sorted(set(range(1, max(seqs, default=0) + 1)) - seqs):
            found.append((Problem.SEQ_MISSING, f"seq {_listed(missing)}"))
    return found


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_LISTED]))
    return shown if len(numbers) <= _LISTED else f"{shown} and {len(numbers) - _LISTED} more"
