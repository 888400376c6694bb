"""What an audit says of a session, from what is stored of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from persistence.events import transcript_sha256
from persistence.verdicts import ADVICE, Problem, Standing, Stored, StoredTurn, verdict

SESSION, WORKER = UUID(int=1), UUID(int=2)


def turn(seq: int, **changed: Any) -> StoredTurn:
    return StoredTurn(
        seq, f"item-{seq}", "client", "client-anna", f"Number {seq}.", False
    )._replace(**changed)


TURNS = [turn(1), turn(2), turn(4)]
"""Number 3 is a marker's."""


def stored(turns: Sequence[StoredTurn] = TURNS, **changed: Any) -> Stored:
    """A session that ended well, with the receipt of TURNS whatever is stored of them."""
    facts: dict[str, Any] = {
        "id": SESSION,
        "status": "completed",
        "started_at": datetime(2026, 3, 1, tzinfo=UTC),
        "end_reason": "client_left",
        "turn_count": len(TURNS),
        "transcript_sha256": transcript_sha256(TURNS),
        "completeness": "complete",
        "completeness_reason": None,
        "is_reclaimed": False,
        "is_archived": False,
        "has_legacy_transcript": False,
        "worker_id": WORKER,
        "worker_alive": True,
        "dead_letters": 0,
        "is_erased": False,
        "turns": turns,
        "marker_seqs": [3],
    }
    return Stored(**facts | changed)


ACTIVE: dict[str, Any] = {
    "status": "active",
    "end_reason": None,
    "turn_count": None,
    "transcript_sha256": None,
    "completeness": None,
}
NO_RECEIPT: dict[str, Any] = {
    "turn_count": None,
    "transcript_sha256": None,
    "completeness": None,
}
RECLAIMED: dict[str, Any] = {
    "status": "cancelled",
    "end_reason": "worker_lost",
    "transcript_sha256": None,
    "completeness": "partial",
    "completeness_reason": "worker lost",
    "is_reclaimed": True,
    "worker_alive": False,
}


@pytest.mark.parametrize(
    ("session", "standing"),
    [
        (stored(), Standing.PROVEN),
        (stored(list(reversed(TURNS))), Standing.PROVEN),
        (stored(worker_alive=False), Standing.PROVEN),
        (stored(completeness="recovered"), Standing.PROVEN),
        (stored(completeness="partial", completeness_reason="disk_full"), Standing.PROVEN),
        (
            stored(completeness="partial", completeness_reason="torn", marker_seqs=[]),
            Standing.PROVEN,
        ),
        (stored(TURNS[:1], **ACTIVE), Standing.ACTIVE),
        (stored([turn(2)], **ACTIVE, worker_id=None, worker_alive=False), Standing.ACTIVE),
        (stored(TURNS[1:], **RECLAIMED), Standing.PROVISIONAL),
        (stored([], **NO_RECEIPT, has_legacy_transcript=True), Standing.IMPORTED),
        (stored([], **NO_RECEIPT, worker_id=None, end_reason=None), Standing.IMPORTED),
        (stored([], is_archived=True), Standing.ARCHIVED),
        (stored(TURNS[:1], is_erased=True), Standing.ERASED),
    ],
)
def test_a_session_that_proves_itself_or_need_not_has_no_problem(
    session: Stored, standing: Standing
) -> None:
    found = verdict(session)
    assert (found.standing, list(found.findings)) == (standing, [])


@pytest.mark.parametrize(
    ("session", "problems"),
    [
        (stored([*TURNS[:2], turn(4, text="Else.")]), {Problem.RECEIPT_BROKEN}),
        (stored([*TURNS[:2], turn(4, speaker_identity="coach-1")]), {Problem.RECEIPT_BROKEN}),
        (stored([turn(1), turn(4), turn(2, interrupted=True)]), {Problem.RECEIPT_BROKEN}),
        (
            stored(TURNS[1:]),
            {Problem.RECEIPT_BROKEN, Problem.COUNT_WRONG, Problem.SEQ_MISSING},
        ),
        (
            stored([*TURNS, turn(5, item_id="item-4")]),
            {Problem.RECEIPT_BROKEN, Problem.COUNT_WRONG, Problem.ITEM_DOUBLED},
        ),
        (stored(marker_seqs=[]), {Problem.SEQ_MISSING}),
        (stored(marker_seqs=[2, 3]), {Problem.SEQ_DOUBLED}),
        (stored([turn(1), turn(1)], **ACTIVE), {Problem.SEQ_DOUBLED, Problem.ITEM_DOUBLED}),
        (stored(**NO_RECEIPT), {Problem.NO_RECEIPT}),
        (stored(completeness=None), {Problem.NO_RECEIPT}),
        (stored(end_reason=None), {Problem.NO_END_REASON}),
        (stored(status="cancelled"), {Problem.STATUS_WRONG}),
        (stored(end_reason="error"), {Problem.STATUS_WRONG}),
        (stored(completeness="partial"), {Problem.NO_PARTIAL_REASON}),
        (stored(**ACTIVE, worker_alive=False), {Problem.WORKER_GONE}),
        (stored(TURNS[:1], dead_letters=2), {Problem.DEAD_LETTERS}),
        (stored(is_erased=True, dead_letters=1), {Problem.DEAD_LETTERS}),
        (stored([turn(9)], worker_id=None), {Problem.RECEIPT_BROKEN, Problem.COUNT_WRONG}),
    ],
)
def test_what_is_wrong_with_a_session_is_named(session: Stored, problems: set[Problem]) -> None:
    found = verdict(session)
    assert found.standing is Standing.WRONG
    assert {finding.problem for finding in found.findings} == problems
    assert {finding.session_id for finding in found.findings} == {SESSION}


def test_a_session_with_nothing_said_proves_it() -> None:
    silent = stored([], turn_count=0, transcript_sha256=transcript_sha256([]), marker_seqs=[])
    assert verdict(silent).standing is Standing.PROVEN


def test_what_is_found_says_numbers_and_never_what_was_said() -> None:
    said = [turn(n, text="purple heron", item_id="x") for n in (1, 2, 3, 5, 7, 8, 20)]
    found = {f.problem: f.detail for f in verdict(stored(said, marker_seqs=[])).findings}
    assert found[Problem.SEQ_MISSING] == "seq 4, 6, 9, 10, 11 and 8 more"
    assert found[Problem.COUNT_WRONG] == "7 stored, 3 in the receipt"
    assert not any("heron" in detail or "anna" in detail for detail in found.values())


def test_there_is_a_sentence_for_every_problem() -> None:
    assert ADVICE.keys() == set(Problem)
