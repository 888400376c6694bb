"""What a run of campaigns shows at its end: a table for people, data for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from agent.local.chaos.left_out import LeftOut
from agent.local.chaos.outcome import Outcome
from agent.local.chaos.plan import Level
from agent.local.chaos.verdict import Kind

TITLES: Mapping[Level, str] = {Level.PROCESS: "processes", Level.ROOM: "rooms, audio"}
_FIGURES = ("campaigns", "faults", "sessions", "spoken", "due", "turns", "seconds")
_MEANING: Mapping[str, str] = {
    "spoken": "pieces of speech",
    "due": "of them to be kept",
    "turns": "turns in Postgres",
}
SHOWN = 20
"""How many findings are shown; the JSON has them all."""


@dataclass(frozen=True)
class Report:
    seed: int
    outcomes: Mapping[Level, Sequence[Outcome]]
    left_out: Sequence[LeftOut] = ()

    @property
    def good(self) -> bool:
        return all(outcome.good for _, outcome in self._all())

    def to_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "good": self.good,
            "left_out": [asdict(one) for one in self.left_out],
            "levels": {level.value: _level(found) for level, found in self.outcomes.items()},
            "failures": [
                {"replay": self.replay(level, outcome), "findings": outcome.findings}
                for level, outcome in self._all()
                if not outcome.good
            ],
        }

    def show(self, console: Console) -> None:
        """Print the tables, and how to replay what failed."""
        console.print(self._faults(), "", self._figures(), "")
        for line in [*map(Text, map(str, self.left_out)), *self._failures()]:
            console.print(line, soft_wrap=True)

    def replay(self, level: Level, outcome: Outcome) -> str:
        """Return the command that plays the plan of `outcome` again."""
        return f"coach chaos --seed {self.seed} --campaign {name_of(level, outcome.number)}"

    def _all(self) -> list[tuple[Level, Outcome]]:
        return [(level, outcome) for level, found in self.outcomes.items() for outcome in found]

    def _faults(self) -> RenderableType:
        counts = {level: _broken(found) for level, found in self.outcomes.items()}
        kinds = sorted(set().union(*counts.values()))
        return self._table(
            "faults", {kind: {level: counts[level][kind] for level in counts} for kind in kinds}
        )

    def _figures(self) -> RenderableType:
        levels = {level: _level(found) for level, found in self.outcomes.items()}
        rows = {
            _MEANING.get(name, name): {level: levels[level][name] for level in levels}
            for name in _FIGURES
        }
        for kind in Kind:
            rows[kind.value] = {level: levels[level]["findings"][kind.value] for level in levels}
        return self._table(f"seed {self.seed}", rows, wrong={kind.value for kind in Kind})

    def _table(
        self, title: str, rows: Mapping[str, Mapping[Level, int]], wrong: set[str] | None = None
    ) -> Table:
        table = Table(title, title_justify="left")
        for level in self.outcomes:
            table.add_column(TITLES[level], justify="right")
        for name, values in rows.items():
            cells = [
                Text(str(value), style="bold red" if value and name in (wrong or ()) else "")
                for value in values.values()
            ]
            table.add_row(name.replace("_", " "), *cells)
        return table

    def _failures(self) -> list[Text]:
        lines = [
            Text.assemble((self.replay(level, outcome), "bold"), f"\n  {_said(finding)}")
            for level, outcome in self._all()
            for finding in outcome.findings
        ]
        more = len(lines) - SHOWN
        return lines[:SHOWN] + ([Text(f"and {more} more")] if more > 0 else [])


def name_of(level: Level, number: int) -> str:
    """Return what a campaign is called on the command line."""
    return str(number) if level is Level.PROCESS else f"{level}-{number}"


def _said(finding: Mapping[str, str]) -> str:
    return f"{finding['kind']}: {finding['session']}: {finding['what']}"


def _broken(outcomes: Sequence[Outcome]) -> Counter[str]:
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(outcome.faults)
    return total


def _level(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    found = Counter(finding["kind"] for outcome in outcomes for finding in outcome.findings)
    return {
        "campaigns": len(outcomes),
        "faults": sum(outcome.broken for outcome in outcomes),
        "by_kind": dict(_broken(outcomes)),
        "sessions": sum(outcome.sessions for outcome in outcomes),
        "spoken": sum(outcome.spoken for outcome in outcomes),
        "due": sum(outcome.due for outcome in outcomes),
        "turns": sum(outcome.turns for outcome in outcomes),
        "seconds": round(sum(outcome.seconds for outcome in outcomes)),
        "findings": {kind.value: found[kind.value] for kind in Kind},
    }
