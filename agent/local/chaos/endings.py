"""The judgement on the ends of sessions: how each has to have ended, and what is stored. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.local.chaos.verdict import Finding, Kind

DURATION_SLACK = 1.0
"""Seconds; durations are stored as a number of their own."""


@dataclass(frozen=True)
class Ending:
    """How a session has to have ended."""

    session: str
    reasons: frozenset[str]
    """Those that are true."""
    statuses: frozenset[str] = frozenset({"completed", "cancelled"})
    completeness: frozenset[str] = frozenset({"complete", "recovered", "partial"})
    began: tuple[float, float] | None = None
    ended: tuple[float, float] | None = None
    """No earlier and no later, in seconds of the clock of `StoredEnd`; None where any is right."""
    reclaimable: bool = False
    """Whether its worker was out of touch for longer than its lease."""
    jobs: int = 1
    """Runs of its after-session jobs."""


@dataclass(frozen=True)
class StoredEnd:
    """What Postgres holds of a session's end, recounted by the caller where it can be."""

    session: str
    status: str
    reason: str | None
    started_at: float
    ended_at: float | None
    duration_seconds: float | None
    completeness: str | None
    receipt_kept: bool
    """Whether turn count and hash of the receipt are those of the turns."""
    reclaimed: bool
    jobs: int


def judge_ends(expected: Sequence[Ending], stored: Sequence[StoredEnd]) -> list[Finding]:
    """Return all that is wrong with the sessions in `stored`."""
    found: dict[str, list[StoredEnd]] = defaultdict(list)
    for end in stored:
        found[end.session].append(end)
    findings = [
        Finding(Kind.INVENTED, session, "a session that nobody held")
        for session in found.keys() - {ending.session for ending in expected}
    ]
    for ending in expected:
        match found[ending.session]:
            case []:
                findings.append(Finding(Kind.MISSING, ending.session, "no session"))
            case [end]:
                findings += _of_end(ending, end)
            case several:
                findings.append(
                    Finding(Kind.ENDED_TWICE, ending.session, f"{len(several)} sessions")
                )
    return findings


def _of_end(ending: Ending, end: StoredEnd) -> list[Finding]:
    if end.ended_at is None or end.status == "active":
        return [Finding(Kind.NOT_ENDED, end.session, f"it is {end.status}")]
    findings = [
        Finding(Kind.UNTRUE_END, end.session, what) for what in _untrue(ending, end, end.ended_at)
    ]
    if not end.receipt_kept or end.completeness not in ending.completeness:
        kept = "kept" if end.receipt_kept else "not kept"
        findings.append(Finding(Kind.UNTRUE_RECEIPT, end.session, f"{end.completeness}, {kept}"))
    if end.reclaimed and not ending.reclaimable:
        findings.append(Finding(Kind.RECLAIMED, end.session, "its worker had been in touch"))
    if end.jobs != ending.jobs:
        findings.append(Finding(Kind.JOBS, end.session, f"{end.jobs} for {ending.jobs}"))
    return findings


def _untrue(ending: Ending, end: StoredEnd, ended_at: float) -> Iterable[str]:
    if end.reason not in ending.reasons or end.status not in ending.statuses:
        yield f"{end.status} ({end.reason})"
    if ending.began and not ending.began[0] <= end.started_at <= ending.began[1]:
        yield f"{end.started_at - ending.began[0]:+.1f} s from when it can have begun"
    if ending.ended and not ending.ended[0] <= ended_at <= ending.ended[1]:
        yield f"{ended_at - ending.ended[0]:+.1f} s from when it can have ended"
    lasted = ended_at - end.started_at
    if end.duration_seconds is None or abs(end.duration_seconds - lasted) > DURATION_SLACK:
        yield f"lasted {lasted:.1f} s, stored as {end.duration_seconds}"
