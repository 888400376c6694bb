"""Jobs that write their journals as a test likes, and what must become of what they wrote."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from shipping import T0, ended, marker, started, turn

from persistence.events import (
    Completeness,
    Ended,
    EndReason,
    Event,
    Progress,
    Role,
    Segment,
    Started,
    Turn,
)
from persistence.journal.lines import encode
from persistence.recovery import recovered_end

COACH = "coach-9"

KINDS = ("client", "ai", "coach", "marker", "segment", "progress", "absorbing", "twice")
POISONS: dict[str, dict[str, Any]] = {
    "refused": {"confidence": 7},
    "nul": {"text": "a\0b"},
    "unstorable": {"metrics": {"a": "\0"}},
}
"""Turns that Postgres refuses for good."""
BLOCKED = "blocked"
"""A turn that it refuses as long as another row has its id."""

ANYTHING = (*KINDS, *POISONS, BLOCKED)


@dataclass
class Written:
    """One session: its journal on disk, and the events that can be read in it."""

    number: int
    worker: int
    session_id: UUID
    path: Path
    events: list[Event] = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)
    """The file as its job wrote it, but for a torn tail."""
    blocked: list[Turn] = field(default_factory=list)
    poisoned: list[Turn] = field(default_factory=list)
    damage: int = 0
    """Bytes of lines that are no event."""
    torn: int = 0
    """Bytes of the last line that its job did not get to finish."""
    fd: int = -1

    @property
    def client(self) -> str:
        return f"client-{self.number}"

    @property
    def end(self) -> Ended | None:
        """How its job ended it, if it did."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Ended) else None

    @property
    def introduced(self) -> bool:
        """Whether it says whose session it is."""
        return bool(self.events) and isinstance(self.events[0], Started)

    @property
    def alive(self) -> bool:
        return self.fd >= 0

    @property
    def shipped(self) -> bool:
        """Whether its journal has gone: all of it is in Postgres then."""
        return not self.path.exists()

    def open(self) -> None:
        """Begin as a job does: the journal has its name once it is locked."""
        fresh = self.path.with_suffix(".new")
        self.fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(self.path)
        self._stamp()

    def write(self, *events: Event) -> None:
        self.events += events
        self.put(b"".join(map(encode, events)))

    def put(self, data: bytes) -> None:
        self.raw += data
        self._append(data)

    def cut(self, size: int) -> None:
        """Take the last `size` bytes back, as after a sync that failed."""
        del self.raw[-size:]
        os.ftruncate(self.fd, os.fstat(self.fd).st_size - size)
        self._stamp()

    def die(self, torn: bytes) -> None:
        """End in the middle of a line."""
        self.torn = len(torn)
        self._append(torn)
        self.leave()

    def _append(self, data: bytes) -> None:
        os.pwrite(self.fd, data, os.fstat(self.fd).st_size)
        self._stamp()

    def leave(self) -> None:
        """Let the journal go: its job is over, one way or the other."""
        fd, self.fd = self.fd, -1
        os.close(fd)

    def _stamp(self) -> None:
        """Keep the clock of this machine out of the session's last sign of life."""
        os.utime(self.fd, (T0.timestamp(), T0.timestamp()))

    def recovered(self, reason: EndReason) -> list[Event]:
        """Return what a recovery has to add."""
        last = self.events[-1].at if self.events else T0
        torn = self.damage + self.torn
        return recovered_end(self.events, last_sign=last, reason=reason, torn=torn)

    def turns(self) -> list[Turn]:
        """Return the turns that it comes to; the first of an item counts."""
        first: dict[str, Turn] = {}
        for event in [*self.events, *self.recovered(EndReason.ERROR)]:
            if isinstance(event, Turn):
                first.setdefault(event.item_id, event)
        return list(first.values())


class Script:
    """Makes the events of one session, each later than the one before it."""

    def __init__(self, written: Written) -> None:
        self._written = written
        self._seq = 0
        self._ticks = 0

    def start(self, **changed: Any) -> Event:
        return started(client_identity=self._written.client, **changed)

    def make(self, kind: str) -> Iterator[Event]:
        """Yield events of `kind`: one of KINDS, POISONS or BLOCKED."""
        session_id = self._written.session_id
        match kind:
            case "client":
                yield self._turn()
            case "ai":
                yield self._turn(role=Role.AI, speaker_identity=None, reply_id=self._name("reply"))
            case "coach":
                yield self._turn(role=Role.COACH, speaker_identity=COACH)
            case "marker":
                seq = self._next()
                yield marker(session_id, seq, at=self._tick())
            case "segment":
                yield self._segment()
            case "progress":
                yield self._progress()
            case "absorbing":
                yield (piece := self._segment())
                yield self._turn(segment_ids=(piece.segment_id,), text=piece.text)
            case "twice":
                yield (said := self._turn())
                again = {"at": self._tick(), "seq": self._next(), "turn_id": self._id("again")}
                yield said.model_copy(update=again)
            case _:
                poisoned = self._turn(**POISONS.get(kind, {}))
                place = self._written.poisoned if kind in POISONS else self._written.blocked
                place.append(poisoned)
                yield poisoned

    def end(self, reason: EndReason) -> Ended:
        receipt = {"turn_count": 3, "completeness": Completeness.COMPLETE}
        return ended(at=self._tick(), reason=reason, receipt=receipt)

    def _turn(self, **changed: Any) -> Turn:
        seq = self._next()
        said = self._tick()
        given = {"at": said, "speaker_identity": self._written.client}
        return turn(self._written.session_id, seq, **{**given, **changed})

    def _segment(self) -> Segment:
        said = self._tick()
        return Segment(
            at=said,
            segment_id=self._id("segment"),
            role=Role.CLIENT,
            speaker_identity=self._written.client,
            text=f"Piece {self._ticks}.",
            started_at=said - timedelta(seconds=1),
            ended_at=said,
        )

    def _progress(self) -> Progress:
        # two replies may have one id, not one id and one start
        said = self._tick() + timedelta(microseconds=self._written.number)
        text = f"Heard so far {self._ticks}."
        return Progress(at=said, reply_id=self._name("reply"), text=text, started_at=said)

    def _name(self, what: str) -> str:
        return f"{what}-{self._seq // 3}"

    def _id(self, what: str) -> UUID:
        return uuid5(self._written.session_id, f"{what} {self._ticks}")

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _tick(self) -> Any:
        self._ticks += 1
        return T0 + timedelta(seconds=self._ticks)
