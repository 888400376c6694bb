"""What a rehearsal found: for a person as tables, for a program as one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.local.rehearsal import comparison, verdict
from agent.local.rehearsal.record import Record, Stored

STYLES = {"client": "cyan", "ai": "magenta", "coach": "green"}


@dataclass(frozen=True)
class Judged:
    """One session with the judgement on it."""

    record: Record
    failures: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.failures


def judged(records: Sequence[Record]) -> list[Judged]:
    """Return the judgement on sessions that were held at once."""
    mixed = verdict.cross_talk(records)
    return [
        Judged(
            record,
            tuple(verdict.failures(record) + ([mixed[n]] if n in mixed else [])),
            tuple(verdict.remarks(record)),
        )
        for n, record in enumerate(records)
    ]


def as_object(url: str, sessions: Sequence[Judged]) -> dict[str, Any]:
    """Return the whole rehearsal as JSON has it; times in seconds."""
    latencies = [value for session in sessions for value in session.record.latencies]
    return {
        "ok": all(session.passed for session in sessions),
        "url": url,
        "latency": _latency(latencies),
        "sessions": [_session(session) for session in sessions],
    }


def _session(session: Judged) -> dict[str, Any]:
    record = session.record
    stored = record.stored
    return {
        "ok": session.passed,
        "failures": list(session.failures),
        "remarks": list(session.remarks),
        "room": record.room,
        "identity": record.identity,
        "sessionId": stored.session_id if stored else None,
        "earlierSessionIds": [earlier.session_id for earlier in record.earlier],
        "spoken": [{"text": u.text, "answeredAfter": _round(u.latency)} for u in record.utterances],
        "transcript": [
            {
                "speaker": row.speaker,
                "captioned": row.captioned if row.lines else None,
                "stored": row.turn.text if row.turn else None,
                "seq": row.turn.seq if row.turn else None,
                "interrupted": row.turn.interrupted if row.turn else None,
                "difference": row.difference,
            }
            for row in _rows(record)
        ],
        "wordErrorRate": _round(verdict.recognition(record)),
        "greetedAfter": _round(record.greeting_seconds),
        "latency": _latency(record.latencies),
        "heardSeconds": _round(record.sound_seconds),
        "end": _end(record, stored) if stored else None,
        "receipt": _receipt(stored) if stored else None,
    }


def _latency(values: Sequence[float]) -> dict[str, Any]:
    return {
        "each": [_round(value) for value in values],
        "median": _round(verdict.middle(values)),
        "p95": _round(verdict.p95(values)),
    }


def _end(record: Record, stored: Stored) -> dict[str, Any]:
    return {
        "status": stored.status,
        "reason": stored.end_reason,
        "durationSeconds": _round(stored.duration_seconds),
        "completedAfter": _round(record.completed_seconds),
    }


def _receipt(stored: Stored) -> dict[str, Any] | None:
    receipt = stored.receipt
    if receipt is None:
        return None
    return {
        "completeness": receipt.completeness,
        "reason": receipt.reason,
        "turnCount": receipt.turn_count,
        "kept": receipt.kept,
    }


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _rows(record: Record) -> list[comparison.Row]:
    return comparison.rows(record.lines, record.turns)


def show(console: Console, sessions: Sequence[Judged]) -> None:
    """Print everything."""
    for session in sessions:
        console.print()
        _show_session(console, session)
    if len(sessions) > 1:
        _show_all(console, sessions)


def _show_session(console: Console, session: Judged) -> None:
    record = session.record
    console.print(_transcript(record))
    console.print()
    console.print(_facts(record))
    console.print()
    for remark in session.remarks:
        console.print(_plain(f"note    {remark}", "yellow"))
    for failure in session.failures:
        console.print(_plain(f"FAILED  {failure}", "bold red"))
    if session.passed:
        console.print(_plain("passed  Postgres holds what was captioned, word for word", "green"))


def _transcript(record: Record) -> Table:
    table = Table(title=_plain(f"room {record.room}"), title_justify="left", expand=True)
    table.add_column("")
    table.add_column("captions received", ratio=1)
    table.add_column("Postgres", ratio=1)
    table.add_column("")
    for row in _rows(record):
        stored = _plain(row.turn.text) if row.turn else Text("—", style="red")
        if row.turn and row.turn.interrupted:
            stored.append(" (interrupted)", style="yellow")
        captioned = _plain(row.captioned) if row.lines else Text("—", style="red")
        table.add_row(
            _plain(row.speaker, STYLES.get(row.speaker, "red")),
            captioned,
            stored,
            Text("≠", style="bold red") if row.difference else Text("=", style="green"),
        )
    return table


def _facts(record: Record) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, said in _said_facts(record):
        table.add_row(name, _plain(said))
    return table


def _said_facts(record: Record) -> list[tuple[str, str]]:
    facts = [
        ("latency", _said_latency(record)),
        ("greeting", _after(record.greeting_seconds, "after joining")),
        ("heard", f"{record.sound_seconds:.1f} s of the AI's voice"),
        ("recognition", _said_recognition(record)),
    ]
    stored = record.stored
    if stored is not None:
        facts += [
            ("session", stored.session_id),
            ("end", _said_end(record, stored)),
            ("receipt", _said_receipt(stored)),
        ]
    return facts


def _said_latency(record: Record) -> str:
    values = record.latencies
    if not values:
        return "none: nothing was answered"
    each = " ".join(f"{value:.2f}" for value in values)
    middle, high = verdict.middle(values), verdict.p95(values)
    return f"median {middle:.2f} s, p95 {high:.2f} s from end of speech to first sound ({each})"


def _said_recognition(record: Record) -> str:
    rate = verdict.recognition(record)
    if rate is None:
        return "nothing was said"
    return f"word error rate {rate:.0%} against what was spoken"


def _said_end(record: Record, stored: Stored) -> str:
    duration = stored.duration_seconds
    lasted = "" if duration is None else f", lasted {duration:.1f} s"
    seen = _after(record.completed_seconds, "after leaving")
    return f"{stored.status}, {stored.end_reason or 'no reason'}{lasted}; in Postgres {seen}"


def _said_receipt(stored: Stored) -> str:
    receipt = stored.receipt
    if receipt is None:
        return "none"
    kept = "and these are they" if receipt.kept else "but Postgres holds others"
    return f"{receipt.completeness}, {receipt.turn_count} turns, {kept}"


def _after(seconds: float | None, what: str) -> str:
    return "never" if seconds is None else f"{seconds:.2f} s {what}"


def _show_all(console: Console, sessions: Sequence[Judged]) -> None:
    values = [value for session in sessions for value in session.record.latencies]
    passed = sum(session.passed for session in sessions)
    console.print()
    line = f"{passed} of {len(sessions)} sessions passed"
    if values:
        middle, high = verdict.middle(values), verdict.p95(values)
        line += f"; latency median {middle:.2f} s, p95 {high:.2f} s over {len(values)} answers"
    console.print(_plain(line, "bold green" if passed == len(sessions) else "bold red"))


def _plain(text: str, style: str = "") -> Text:
    """Return text as it stands: no markup, and no control characters for the terminal to obey."""
    return Text("".join(c if c.isprintable() else "\ufffd" for c in text), style=style)
