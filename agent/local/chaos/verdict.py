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
    began: float | None = None
    """By the same clock as what was spoken."""


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
    spoken: Sequence[Spoken],
    stored: Sequence[Stored],
    *,
    slack: float = 0.0,
    early: float | None = None,
    late: float = 0.0,
) -> list[Finding]:
    """Return all that is wrong with the turns in `stored`.

    `slack` (seconds) is how far the clocks of two speakers may disagree: what they began within it
    may stand in either order. One speaker's own words have to be in order whatever it is. By so
    many seconds too `early` or `late` may a person's turn begin; None: no matter when.
    """
    matches = _Matches(spoken, early, late)
    matches.read(stored)
    misordered = _misordered(matches.places(), slack)
    return [*matches.findings, *matches.missing(), *misordered]


@dataclass
class _Matches:
    """Which piece of speech is found where."""

    spoken: Sequence[Spoken]
    early: float | None
    late: float
    findings: list[Finding] = field(default_factory=list)
    _places: dict[int, list[tuple[str, Spoken]]] = field(default_factory=lambda: defaultdict(list))
    """Found pieces by the turn that holds them, and the session whose transcript has it."""
    _times: Counter[int] = field(default_factory=Counter)
    _most: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Words found of each piece, at the place where there are most of them."""
    _first_words: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for index in sorted(range(len(self.spoken)), key=lambda index: self.spoken[index].at):
            words = self.spoken[index].text.split()
            self._first_words[words[0] if words else ""].append(index)

    def read(self, stored: Sequence[Stored]) -> None:
        """Take all turns apart into the pieces that they hold.

        Of an AI's reply there may be so few words that they could be of several: whole replies
        have the first choice, then those of which there is more.
        """
        for place in sorted(range(len(stored)), key=lambda place: self._cut(stored[place])):
            self._read(place, stored[place])

    def _cut(self, turn: Stored) -> tuple[bool, int]:
        """Return whether a turn is an AI's and not all of what it said, and less the longer."""
        words = turn.text.split()
        whole = turn.role != Role.AI or any(
            self.spoken[index].text.split() == words
            for index in self._first_words.get(words[0] if words else "", ())
        )
        return (not whole, 0 if whole else -len(words))

    def _read(self, place: int, turn: Stored) -> None:
        words, first = turn.text.split(), True
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
            self._take(best, turn, words[:length], place, first=first)
            words, first = words[length:], False

    def places(self) -> Iterable[tuple[str, Spoken]]:
        """Return the pieces found, in the order in which they are read."""
        return (found for place in sorted(self._places) for found in self._places[place])

    def missing(self) -> Iterable[Finding]:
        """Return what had to be there and is not.

        Of what was said several times in the same words nobody can tell which is which.
        """
        same: dict[tuple[str, Role, str], list[int]] = defaultdict(list)
        for index, piece in enumerate(self.spoken):
            same[piece.session, piece.role, piece.text].append(index)
        for (session, _, _), indices in same.items():
            due = sorted((self.spoken[index].least for index in indices), key=len, reverse=True)
            found = sorted((self._most[index] for index in indices), reverse=True)
            for least, most in zip(due, found, strict=True):
                if lost := least[most:]:
                    yield Finding(Kind.LOST, session, " ".join(lost))

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

    def _take(
        self, index: int, turn: Stored, words: Sequence[str], place: int, *, first: bool
    ) -> None:
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
        if not self._ambiguous(words, turn):
            self._places[place].append((turn.session, piece))
        if first:
            self._look_at_the_clock(piece, turn)

    def _ambiguous(self, words: Sequence[str], turn: Stored) -> bool:
        """Return whether the words could be the beginning of several replies in that session."""
        fitting = {
            self.spoken[index].text
            for index in self._first_words[words[0]]
            if self.spoken[index].session == turn.session and self._length(index, words)
        }
        return len(fitting) > 1

    def _look_at_the_clock(self, piece: Spoken, turn: Stored) -> None:
        if self.early is None or turn.began is None or piece.role == Role.AI:
            return
        off = turn.began - piece.at
        if not -self.early <= off <= self.late:
            self._found(Kind.MISORDERED, turn.session, f"{piece.text} ({off:+.1f} s)")

    def _found(self, kind: Kind, session: str, what: str) -> None:
        self.findings.append(Finding(kind, session, what))


def _misordered(places: Iterable[tuple[str, Spoken]], slack: float) -> Iterable[Finding]:
    """Return the pieces that stand behind one that was said after them."""
    latest: dict[tuple[str, Role | None], float] = {}
    for session, piece in places:
        own, all_ = (session, piece.role), (session, None)
        late = piece.at < latest.get(own, piece.at)
        if late or piece.at + slack < latest.get(all_, piece.at):
            yield Finding(Kind.MISORDERED, session, piece.text)
        for key in (own, all_):
            latest[key] = max(piece.at, latest.get(key, piece.at))
