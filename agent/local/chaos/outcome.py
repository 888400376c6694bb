"""What came of a campaign: how often what was broken, how much was said, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agent.local.chaos.plan import Campaign
from agent.local.chaos.plan import Kind as Fault
from agent.local.chaos.verdict import Finding, Kind, Spoken


@dataclass(frozen=True)
class Outcome:
    """One campaign's figures; as JSON, a line of the ledger."""

    level: str
    number: int
    seconds: float
    faults: dict[str, int]
    """How many of each kind hit something."""
    sessions: int
    spoken: int
    """Final segments and replies that were spoken."""
    due: int
    """Of those, how many had to be kept, wholly or in part."""
    turns: int
    """That Postgres holds."""
    findings: list[dict[str, str]] = field(default_factory=list)
    gave_up: bool = False
    """Whether it was not played to its end."""

    @classmethod
    def of(  # noqa: PLR0913 - a campaign has that many sides
        cls,
        campaign: Campaign,
        hit: Counter[Fault],
        findings: Sequence[Finding],
        spoken: Sequence[Spoken],
        *,
        sessions: int,
        turns: int,
        seconds: float,
    ) -> Outcome:
        """Return the outcome of `campaign`; `hit` counts what hit something."""
        return cls(
            campaign.level.value,
            campaign.number,
            round(seconds, 2),
            {kind.value: count for kind, count in sorted(hit.items())},
            sessions,
            len(spoken),
            sum(bool(piece.least) for piece in spoken),
            turns,
            [_plain(finding) for finding in findings],
        )

    @classmethod
    def given_up(cls, campaign: Campaign, error: Exception) -> Outcome:
        """Return that `campaign` could not be played to its end; all its faults count."""
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        why = f"{type(error).__name__}: {error}"
        planned = Counter(fault.kind.value for fault in campaign.faults)
        finding = _plain(Finding(Kind.NOT_ENDED, "campaign", why))
        name, number = campaign.level.value, campaign.number
        return cls(name, number, 0.0, dict(planned), 0, 0, 0, 0, [finding], gave_up=True)

    @property
    def broken(self) -> int:
        """How many faults there were."""
        return sum(self.faults.values())

    @property
    def good(self) -> bool:
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Outcome:
        return cls(**entry)


def _plain(finding: Finding) -> dict[str, str]:
    return {"kind": finding.kind.value, "session": finding.session, "what": finding.what}
