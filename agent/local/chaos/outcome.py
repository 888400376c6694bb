"""What came of a campaign: how often what was broken, how much was said, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agent.local.chaos.plan import Campaign
from agent.local.chaos.plan import Kind as Fault
from agent.local.chaos.verdict import Finding, Kind, Spoken


def failed(what: str) -> Finding:
    """Return that a campaign did not come to its end."""
    return Finding(Kind.NOT_ENDED, "campaign", what)


@dataclass(frozen=True)
class Outcome:
    """One campaign's figures; as JSON, a line of the ledger."""

    level: str
    number: int
    seconds: float
    faults: dict[str, int]
    """How many of each kind hit something."""
    sessions: int
    pieces: int
    """Final segments and replies that were spoken."""
    due: int
    """Of them, those that had to be kept, wholly or in part."""
    turns: int
    """That Postgres holds."""
    findings: list[dict[str, str]] = field(default_factory=list)

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
            [{"kind": f.kind.value, "session": f.session, "what": f.what} for f in findings],
        )

    @property
    def good(self) -> bool:
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Outcome:
        return cls(**entry)
