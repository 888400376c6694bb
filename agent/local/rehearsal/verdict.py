"""The judgement on a rehearsal: what fails it, what is only worth a look, and its figures. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from statistics import median

import jiwer

from agent.local.rehearsal.comparison import misplaced, rows
from agent.local.rehearsal.record import Record, Stored

EXPECTED_END = "client_left"
P95 = 0.95
FITS = 0.5
MUCH_CLOSER = 0.3
"""Words are another session's if they fit what it said (at most this error rate), and that much
better than what this one said: rough recognition alone gets neither.
"""

_PUNCTUATION = re.compile(r"[^\w' ]")


def failures(record: Record) -> list[str]:
    """Return everything that fails a rehearsed session, each with its place; none if it passed."""
    found = record.troubles + _unheard(record)
    found += [f"cross-talk: {identity} spoke in this room" for identity in record.strangers]
    if record.stored is None:
        return [*found, "Postgres holds no session of this room"]
    found += [
        f"the conversation broke: an earlier session of this room is {_ended(earlier)}"
        for earlier in record.earlier
    ]
    found += _differences(record)
    return found + _end_failures(record.stored)


def _unheard(record: Record) -> list[str]:
    if record.sound_seconds == 0:
        return ["no audio of the AI was heard"]
    if record.utterances and not record.latencies:
        return ["no utterance was answered"]
    return []


def _ended(stored: Stored) -> str:
    return f"{stored.status} ({stored.end_reason})" if stored.end_reason else stored.status


def _differences(record: Record) -> list[str]:
    found = rows(record.lines, record.turns)
    differing = [
        f"{_where(n, row.turn.seq if row.turn else None)}, {row.speaker}: {row.difference}"
        for n, row in enumerate(found, 1)
        if row.difference
    ]
    return differing + [
        f"turn {row.turn.seq}, {row.speaker}: Postgres has it later than it was captioned"
        for row in misplaced(found)
        if row.turn is not None
    ]


def _where(row: int, seq: int | None) -> str:
    return f"turn {seq}" if seq is not None else f"row {row}"


def _end_failures(stored: Stored) -> list[str]:
    if stored.status != "completed":
        return [f"the session did not complete: it is {stored.status}"]
    if stored.receipt is None:
        return ["the session ended without a receipt"]
    if not stored.receipt.kept:
        return ["the turns in Postgres are not those that the receipt names"]
    return []


def remarks(record: Record) -> list[str]:
    """Return what does not fail a session and is worth a look."""
    found = [
        f'no answer to "{utterance.text}"'
        for utterance in record.utterances
        if utterance.latency is None and record.latencies
    ]
    if record.greeting_seconds is None and record.sound_seconds:
        found.append("the AI did not greet")
    stored = record.stored
    if stored and stored.status == "completed" and stored.end_reason != EXPECTED_END:
        found.append(f"the session ended by itself: {stored.end_reason}")
    if stored and stored.receipt and stored.receipt.completeness != "complete":
        reason = f": {stored.receipt.reason}" if stored.receipt.reason else ""
        found.append(f"the receipt says {stored.receipt.completeness}{reason}")
    return found


def cross_talk(records: Sequence[Record]) -> dict[int, str]:
    """Return the sessions that heard another's words rather than their own, and whose."""
    found = {}
    for index, record in enumerate(records):
        heard = _heard(record)
        own = word_error_rate(record.spoken, heard)
        for other in records:
            if own is None or not heard or other.spoken == record.spoken:
                continue
            rate = word_error_rate(other.spoken, heard)
            if rate is not None and rate < min(FITS, own - MUCH_CLOSER):
                found[index] = f"cross-talk: what was heard here was said in {other.room}"
    return found


def recognition(record: Record) -> float | None:
    """Return the word error rate of the client's captions against what was spoken."""
    return word_error_rate(record.spoken, _heard(record))


def _heard(record: Record) -> list[str]:
    return [line.text for line in record.lines if line.speaker == "client"]


def word_error_rate(spoken: Sequence[str], heard: Sequence[str]) -> float | None:
    """Return wrong words by spoken ones, without case and punctuation; None if none was spoken."""
    reference = _plain(spoken)
    return float(jiwer.wer(reference, _plain(heard))) if reference else None


def _plain(texts: Sequence[str]) -> str:
    return " ".join(_PUNCTUATION.sub(" ", " ".join(texts).lower()).split())


def middle(values: Sequence[float]) -> float | None:
    """Return the median, None of nothing."""
    return median(values) if values else None


def p95(values: Sequence[float]) -> float | None:
    """Return the smallest value that 95% of all do not exceed, None of nothing."""
    return sorted(values)[math.ceil(P95 * len(values)) - 1] if values else None
