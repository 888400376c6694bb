"""What one rehearsed session yielded: what was said, captioned, heard and stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Speaker = Literal["client", "ai", "stranger"]


@dataclass(frozen=True)
class Line:
    """One caption as it was last received."""

    speaker: Speaker
    text: str
    final: bool = True
    at: float = 0.0
    """Seconds since the client joined, of its first text."""


@dataclass(frozen=True)
class Turn:
    """One turn as the API gives it."""

    seq: int
    role: str
    text: str
    started_at: datetime
    ended_at: datetime
    interrupted: bool = False


@dataclass(frozen=True)
class Receipt:
    turn_count: int | None
    completeness: str | None
    reason: str | None
    kept: bool
    """Whether the turns are those that the receipt names."""


@dataclass(frozen=True)
class Stored:
    """What Postgres holds of the session."""

    session_id: str
    status: str
    end_reason: str | None
    started_at: datetime
    ended_at: datetime | None
    turns: tuple[Turn, ...]
    receipt: Receipt | None

    @property
    def duration_seconds(self) -> float | None:
        return (self.ended_at - self.started_at).total_seconds() if self.ended_at else None


@dataclass(frozen=True)
class Utterance:
    """What the client said, and how long the answer let it wait."""

    text: str
    latency: float | None
    """Seconds from the end of speech to the first sound of the answer; None without one."""


@dataclass
class Record:
    """One rehearsed session; filled as it goes."""

    room: str
    identity: str = ""
    greeting_seconds: float | None = None
    """From joining to the first sound of the greeting; None if there was none."""
    utterances: list[Utterance] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    sound_seconds: float = 0.0
    """How much sound was heard of the AI."""
    strangers: tuple[str, ...] = ()
    """Identities that spoke in the room and are neither the client nor an agent."""
    troubles: list[str] = field(default_factory=list)
    """What kept the rehearsal from going its way."""
    stored: Stored | None = None
    """The room's session; the last one, where it has several."""
    earlier: tuple[Stored, ...] = ()
    """The room's sessions before that: an agent was lost, and another one came."""
    completed_seconds: float | None = None
    """From leaving until the API said `completed`."""

    @property
    def spoken(self) -> list[str]:
        return [utterance.text for utterance in self.utterances]

    @property
    def turns(self) -> list[Turn]:
        """All turns of the room, as they are read."""
        sessions = [*self.earlier, self.stored] if self.stored else self.earlier
        return [turn for session in sessions for turn in session.turns]

    @property
    def latencies(self) -> list[float]:
        return [u.latency for u in self.utterances if u.latency is not None]
