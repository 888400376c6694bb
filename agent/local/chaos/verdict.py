"""The judgement on what faults did: what was really said, held against what Postgres holds. Pure.

The two come from different places: what was said from those who saw it go over the wire (the
provider's stand-in, a client's ears, a script that was read out), what is stored from Postgres.
Every piece of speech has to be told from every other by its words alone, within a session and
across all: nothing that the code under test made, no id of its own, is believed.

The promise, and so what `due` excuses: a final segment that reached the worker 100 ms before it
died is there, and what the AI was heard to say until 500 ms before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from persistence.events import Role

SEGMENT_SECONDS = 0.1
"""From a final segment's arrival until it is safe from any crash."""
HEARD_SECONDS = 0.5
"""From a word's being heard until it is."""
DURATION_SLACK = 1.0
"""Seconds; durations are stored as a number of their own."""

Away = Sequence[tuple[float, float]]
"""When nobody was there who could keep anything: from a death to the next start, in seconds."""


class Kind(StrEnum):
    """What can be wrong; the first seven are of a turn, the others of a session."""

    LOST = "lost"
    DOUBLED = "doubled"
    MISORDERED = "misordered"
    MISATTRIBUTED = "misattributed"
    """To another speaker, or into another session."""
    INVENTED = "invented"
    """Stored, and nobody said it so."""
    UNMARKED = "unmarked"
    """The AI was cut short, and the turn does not say so."""
    REFUSED = "refused"
    """Put aside as a dead letter, although nothing is wrong with it."""
    MISSING = "missing"
    """No such session."""
    NOT_ENDED = "not ended"
    ENDED_TWICE = "ended twice"
    UNTRUE_END = "untrue end"
    """A status, reason, time or duration that is not what happened."""
    UNTRUE_RECEIPT = "untrue receipt"
    RECLAIMED = "reclaimed"
    """Taken for lost, although its worker had been in touch."""
    JOBS = "jobs"
    """Not one run of the after-session jobs for the transcript."""


@dataclass(frozen=True)
class Spoken:
    """One piece of speech: a final segment of a person, or a reply of the AI."""

    session: str
    """Whatever the caller knows it by, as in `Stored`."""
    role: Role
    text: str
    """All that can have been said of it."""
    at: float
    """When it began, in seconds of any one clock."""
    speaker: str | None = None
    """The identity; None where any is right, as the AI's."""
    kept: str | None = None
    """The least of it that has to be there: all if None, nothing if empty."""

    @property
    def least(self) -> list[str]:
        return (self.text if self.kept is None else self.kept).split()


@dataclass(frozen=True)
class Stored:
    """One turn; given in the order in which a session's transcript is read."""

    session: str
    role: Role
    text: str
    speaker: str | None = None
    interrupted: bool = False


@dataclass(frozen=True)
class Ending:
    """How a session has to have ended."""

    session: str
    reasons: frozenset[str]
    """Those that are true."""
    statuses: frozenset[str] = frozenset({"completed", "cancelled"})
    completeness: frozenset[str] = frozenset({"complete", "recovered", "partial"})
    ended: tuple[float, float] | None = None
    """No earlier and no later, in seconds of the clock of `StoredEnd`; None where any is right."""
    reclaimable: bool = False
    """Whether its worker was out of touch for longer than its lease."""
    jobs: int = 1
    """Runs of its after-session jobs."""


@dataclass(frozen=True)
class StoredEnd:
    """What Postgres holds of a session's end, recounted by the caller where it can be."""

    session: str
    status: str
    reason: str | None
    started_at: float
    ended_at: float | None
    duration_seconds: float | None
    completeness: str | None
    receipt_kept: bool
    """Whether turn count and hash of the receipt are those of the turns."""
    reclaimed: bool
    jobs: int


@dataclass(frozen=True)
class Finding:
    """One thing that is not as promised."""

    kind: Kind
    session: str
    what: str
    """What it is about, of what was made up for the test."""

    def __str__(self) -> str:
        return f"{self.session}: {self.kind}: {self.what}"


def due(at: float, away: Away, seconds: float = SEGMENT_SECONDS) -> bool:
    """Return whether what arrived at `at` has to be kept: nobody died within `seconds` of it."""
    return not any(died - seconds < at < back for died, back in away)


def heard_until(words: Iterable[tuple[float, str]], moment: float) -> str:
    """Return what was heard by `moment` of words with the times at which they were."""
    return " ".join(word for at, word in words if at <= moment)


def counts(findings: Iterable[Finding]) -> Mapping[Kind, int]:
    """Return how many there are of each kind, zero for the others."""
    found = Counter(finding.kind for finding in findings)
    return {kind: found[kind] for kind in Kind}


def judge(
    spoken: Sequence[Spoken], stored: Sequence[Stored], *, slack: float = 0.0
) -> list[Finding]:
    """Return all that is wrong with the turns in `stored`.

    `slack` (seconds) is how far the clocks of two speakers may disagree: what they began within it
    may stand in either order. One speaker's own words have to be in order whatever it is.
    """
    matches = _Matches(spoken)
    for turn in stored:
        matches.read(turn)
    return [*matches.findings, *matches.missing(), *_misordered(matches.places, slack)]


def judge_ends(expected: Sequence[Ending], stored: Sequence[StoredEnd]) -> list[Finding]:
    """Return all that is wrong with the sessions in `stored`."""
    found: dict[str, list[StoredEnd]] = defaultdict(list)
    for end in stored:
        found[end.session].append(end)
    findings = [
        Finding(Kind.INVENTED, session, "a session that nobody held")
        for session in found.keys() - {ending.session for ending in expected}
    ]
    for ending in expected:
        match found[ending.session]:
            case []:
                findings.append(Finding(Kind.MISSING, ending.session, "no session"))
            case [end]:
                findings += _of_end(ending, end)
            case several:
                findings.append(
                    Finding(Kind.ENDED_TWICE, ending.session, f"{len(several)} sessions")
                )
    return findings


def _of_end(ending: Ending, end: StoredEnd) -> list[Finding]:
    if end.ended_at is None or end.status == "active":
        return [Finding(Kind.NOT_ENDED, end.session, f"it is {end.status}")]
    findings = [
        Finding(Kind.UNTRUE_END, end.session, what) for what in _untrue(ending, end, end.ended_at)
    ]
    if not end.receipt_kept or end.completeness not in ending.completeness:
        kept = "kept" if end.receipt_kept else "not kept"
        findings.append(Finding(Kind.UNTRUE_RECEIPT, end.session, f"{end.completeness}, {kept}"))
    if end.reclaimed and not ending.reclaimable:
        findings.append(Finding(Kind.RECLAIMED, end.session, "its worker had been in touch"))
    if end.jobs != ending.jobs:
        findings.append(Finding(Kind.JOBS, end.session, f"{end.jobs} for {ending.jobs}"))
    return findings


def _untrue(ending: Ending, end: StoredEnd, ended_at: float) -> Iterable[str]:
    if end.reason not in ending.reasons or end.status not in ending.statuses:
        yield f"{end.status} ({end.reason})"
    if ending.ended and not ending.ended[0] <= ended_at <= ending.ended[1]:
        yield f"{ended_at - ending.ended[0]:+.1f} s from when it can have ended"
    lasted = ended_at - end.started_at
    if end.duration_seconds is None or abs(end.duration_seconds - lasted) > DURATION_SLACK:
        yield f"lasted {lasted:.1f} s, stored as {end.duration_seconds}"


@dataclass
class _Matches:
    """Which piece of speech is found where."""

    spoken: Sequence[Spoken]
    findings: list[Finding] = field(default_factory=list)
    places: list[tuple[str, Spoken]] = field(default_factory=list)
    """Found pieces, and the session whose transcript has them, as they are read."""
    _times: Counter[int] = field(default_factory=Counter)
    _most: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Words found of each piece, at the place where there are most of them."""
    _first_words: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for index in sorted(range(len(self.spoken)), key=lambda index: self.spoken[index].at):
            words = self.spoken[index].text.split()
            self._first_words[words[0] if words else ""].append(index)

    def read(self, turn: Stored) -> None:
        """Take a turn apart into the pieces that it holds."""
        words = turn.text.split()
        while words:
            best = max(
                self._first_words.get(words[0], ()),
                key=lambda index: self._fit(index, words, turn),
                default=None,
            )
            length = 0 if best is None else self._length(best, words)
            if best is None or not length:
                self._found(Kind.INVENTED, turn.session, " ".join(words))
                return
            self._take(best, turn, words[:length])
            words = words[length:]

    def missing(self) -> Iterable[Finding]:
        """Return what had to be there and is not."""
        for index, piece in enumerate(self.spoken):
            if lost := piece.least[self._most[index] :]:
                yield Finding(Kind.LOST, piece.session, " ".join(lost))

    def _fit(self, index: int, words: Sequence[str], turn: Stored) -> tuple[bool, int, int, bool]:
        """Return how well a piece fits what a turn goes on with, to compare.

        Its words count first. Of an AI's reply there may be so few that several fit: one of its own
        session and speaker is taken, and one that was not found before.
        """
        piece = self.spoken[index]
        length = self._length(index, words)
        own = (piece.session == turn.session) + (piece.role == turn.role)
        return (length > 0, length, own, not self._times[index])

    def _length(self, index: int, words: Sequence[str]) -> int:
        """Return how many of `words` are this piece: all of a person's, the beginning of an AI's.

        Nothing follows an AI's reply in its turn: it is another item.
        """
        piece = self.spoken[index]
        said = piece.text.split()
        if list(words[: len(said)]) == said:
            return len(said)
        cut = piece.role == Role.AI and said[: len(words)] == list(words)
        return len(words) if cut else 0

    def _take(self, index: int, turn: Stored, words: Sequence[str]) -> None:
        piece, text = self.spoken[index], " ".join(words)
        self._times[index] += 1
        self._most[index] = max(self._most[index], len(words))
        if self._times[index] > 1:
            self._found(Kind.DOUBLED, turn.session, text)
            return
        wrong_speaker = piece.speaker is not None and piece.speaker != turn.speaker
        if piece.session != turn.session or piece.role != turn.role or wrong_speaker:
            self._found(Kind.MISATTRIBUTED, turn.session, text)
        if len(words) < len(piece.text.split()) and not turn.interrupted:
            self._found(Kind.UNMARKED, turn.session, text)
        self.places.append((turn.session, piece))

    def _found(self, kind: Kind, session: str, what: str) -> None:
        self.findings.append(Finding(kind, session, what))


def _misordered(places: Sequence[tuple[str, Spoken]], slack: float) -> Iterable[Finding]:
    """Return the pieces that stand behind one that was said after them."""
    latest: dict[tuple[str, Role | None], float] = {}
    for session, piece in places:
        own, all_ = (session, piece.role), (session, None)
        late = piece.at < latest.get(own, piece.at)
        if late or piece.at + slack < latest.get(all_, piece.at):
            yield Finding(Kind.MISORDERED, session, piece.text)
        for key in (own, all_):
            latest[key] = max(piece.at, latest.get(key, piece.at))
