"""What a bench reports: rows for people, data for machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Progress = Callable[[str], None]
"""Takes a line that says what is being measured."""


@dataclass(frozen=True)
class Row:
    what: str
    value: str
    goal: str = ""
    met: bool | None = None
    """Whether the goal is met; None without a goal."""


@dataclass(frozen=True)
class Result:
    rows: list[Row]
    data: dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """How to measure: `folder` is for whatever is written, `quick` is for building the bench."""

    folder: Path
    quick: bool
    report: Progress
    database: str | None = None
    """The URL of one that `many_sessions.py` filled; else what needs one makes its own."""

    def size(self, full: int, quick: int) -> int:
        """Return how many of something to measure."""
        return quick if self.quick else full


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms"


def mebibytes(size: float) -> str:
    return f"{size / 2**20:.1f} MiB"
