"""How commands print: JSON for programs, and for people text that cannot move their terminal."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

ANY_WIDTH = 10_000
"""In characters: a terminal wraps what is wider than itself."""


def print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def print_table(table: Table, instead: Text) -> None:
    """Print `table` so wide that nothing in it is cut off; `instead`, where it has no rows."""
    console = Console()
    if not table.row_count:
        console.print(instead)
        return
    natural = console.measure(table, options=console.options.update(max_width=ANY_WIDTH)).maximum
    console.width = max(console.width, natural)
    console.print(table)


def plain(text: str, style: str = "") -> Text:
    """Return text as it stands: no markup, and no control characters for the terminal to obey."""
    clean = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
    return Text(clean, style=style)


def moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def age(span: timedelta) -> str:
    """Return how long that is, in its largest unit: `40 s`, `3 min`, `5 h`, `12 d`."""
    seconds = max(0.0, span.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def counted(count: int, thing: str) -> str:
    """Return `1 session`, `2,000 sessions`: for a `thing` whose plural takes an s."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
