"""What operators are told in a terminal, or as JSON: dead letters, and what an audit finds."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from agent.api.shapes import iso
from agent.printing import age, counted, plain, print_json, print_table
from persistence.deadletters import DeadLetter, Retried
from persistence.verdicts import ADVICE, Finding, Standing, Verdict


def show_dead_letters(letters: Iterable[DeadLetter], total: int, *, as_json: bool) -> None:
    """Print dead letters; never what is in them."""
    if as_json:
        print_json([_letter(letter) for letter in letters])
        return
    columns = ("id", "session", "kind", "SQLSTATE", "constraint")
    table = Table(*columns, box=None, header_style="bold")
    for column in ("tries", "age"):
        table.add_column(column, justify="right")
    for letter in letters:
        table.add_row(
            str(letter.id),
            str(letter.session_id),
            plain(letter.kind),
            plain(letter.sqlstate),
            plain(letter.constraint_name or ""),
            str(letter.attempts),
            age(datetime.now(UTC) - letter.created_at),
        )
    print_table(table, Text("no dead letters", style="green"))
    if total > table.row_count:
        Console().print(Text(f"and {total - table.row_count} more", style="dim"))


def _letter(letter: DeadLetter) -> dict[str, str | int | None]:
    return {
        "id": str(letter.id),
        "sessionId": str(letter.session_id),
        "kind": letter.kind,
        "sqlstate": letter.sqlstate,
        "constraint": letter.constraint_name,
        "attempts": letter.attempts,
        "createdAt": iso(letter.created_at),
    }


def show_retried(retried: Retried, unknown: int, *, as_json: bool) -> None:
    """Print how many dead letters went through; `unknown` ids were none, or are none any more."""
    if as_json:
        print_json({**retried._asdict(), "unknown": unknown})
        return
    parts = [(f"{retried.accepted} went through", "green" if retried.accepted else "dim")]
    if retried.refused:
        parts.append((f", {retried.refused} were refused again", "red"))
    if unknown:
        parts.append((f", {unknown} are no dead letters", "yellow"))
    Console().print(Text.assemble(*parts))


class Audit:
    """Prints what an audit finds, as it finds it, and counts what it saw."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._standings: Counter[Standing] = Counter()
        self.findings = 0

    @contextmanager
    def written(self) -> Iterator[None]:
        """Print what the block takes in: well-formed and marked as such even if the block fails."""
        if self._as_json:
            sys.stdout.write('{"findings": [')
        try:
            yield
        except BaseException:
            self._finish(complete=False)
            raise
        self._finish(complete=True)

    async def follow(self, verdicts: AsyncIterator[Verdict], sessions: int) -> None:
        """Take `verdicts` in; `sessions` is how many are expected."""
        with _progress(sessions) as (advance, say):
            async for verdict in verdicts:
                self._standings[verdict.standing] += 1
                for finding in verdict.findings:
                    self._show(finding, say)
                advance()

    def add(self, findings: Iterable[Finding]) -> None:
        """Take in what was found beside the sessions."""
        for finding in findings:
            self._show(finding, Console(soft_wrap=True).print)

    def _finish(self, *, complete: bool) -> None:
        sessions = self._standings.total()
        seen = {standing.value: self._standings[standing] for standing in Standing}
        if self._as_json:
            rest = json.dumps({"complete": complete, "sessions": sessions, "standings": seen})
            sys.stdout.write(f"], {rest[1:]}\n")
            return
        counts = ", ".join(f"{count} {name}" for name, count in seen.items() if count)
        summary = f"{counted(sessions, 'session')}{': ' if counts else ''}{counts}"
        if not complete:
            summary += " so far: the rest was not seen"
        well = complete and not self.findings
        Console(soft_wrap=True).print(Text(summary, style="green" if well else "red"))

    def _show(self, finding: Finding, say: Callable[[Text], None]) -> None:
        self.findings += 1
        if self._as_json:
            shown = {
                "sessionId": str(finding.session_id),
                "problem": finding.problem.value,
                "advice": ADVICE[finding.problem],
                "detail": finding.detail,
            }
            sys.stdout.write((",\n" if self.findings > 1 else "\n") + json.dumps(shown))
            return
        detail = f" ({finding.detail})" if finding.detail else ""
        line = Text.assemble(
            f"{finding.session_id}  ",
            (f"{finding.problem.value:<18}", "red"),
            ADVICE[finding.problem],
        )
        say(line.append_text(plain(detail, "dim")))


@contextmanager
def _progress(total: int) -> Iterator[tuple[Callable[[], None], Callable[[Text], None]]]:
    """Show how far it is, where somebody watches; gives what advances it, and prints beside it."""
    out, watched = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
    if not watched.is_terminal:
        yield (lambda: None), out.print
        return
    columns = (TextColumn("sessions"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=watched, transient=True) as bar:
        task = bar.add_task("audit", total=total)
        # above the bar if it is one terminal, else untouched by it
        say = bar.console.print if out.is_terminal else out.print
        yield (lambda: bar.advance(task)), say
