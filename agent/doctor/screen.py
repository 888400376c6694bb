"""The report: a table in colours, or JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.doctor.check import Check, Level
from agent.printing import plain, print_json

STYLES = {Level.OK: "green", Level.NOTE: "yellow", Level.BAD: "red"}
SIGNS = {Level.OK: "✓", Level.NOTE: "!", Level.BAD: "✗"}


@contextmanager
def working() -> Iterator[Callable[[str], None]]:
    """Show that it takes its time; gives what says that a part is done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    finished: list[str] = []
    with console.status("looking") as status:

        def done(part: str) -> None:
            finished.append(part)
            status.update(f"looked at {', '.join(finished)}")

        yield done


def show(checks: Sequence[Check], *, as_json: bool) -> None:
    """Print the report."""
    if as_json:
        print_json({"healthy": healthy(checks), "checks": [_described(c) for c in checks]})
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    area = None
    for check in checks:
        style = STYLES[check.level]
        said = plain(check.found, "" if check.level is Level.OK else style)
        if check.advice:
            said.append_text(plain(f"\n→ {check.advice}", "dim"))
        shown = "" if check.area == area else check.area.value
        table.add_row(Text(SIGNS[check.level], style=style), shown, plain(check.name), said)
        area = check.area
    console = Console()
    console.print(table)
    console.print(_summary(checks))


def healthy(checks: Sequence[Check]) -> bool:
    """Return whether nobody has to come."""
    return all(check.level is not Level.BAD for check in checks)


def _described(check: Check) -> dict[str, str]:
    return {
        "area": check.area.value,
        "name": check.name,
        "level": check.level.value,
        "found": check.found,
        "advice": check.advice,
    }


def _summary(checks: Sequence[Check]) -> Text:
    wrong = sum(check.level is Level.BAD for check in checks)
    if wrong:
        return Text(f"\n{wrong} of {len(checks)} need somebody", style="red")
    return Text(f"\nall {len(checks)} are well, or can wait", style="green")
