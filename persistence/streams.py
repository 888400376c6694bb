"""Where the shipper is in each journal: what is read, what of it is committed, what is left.

Nothing of this is stored: after a restart every file is read from its start, and gives the same
rows. No clock is in here but the event loop's, to say when something is tried again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import cast
from uuid import UUID

import structlog

from persistence.events import Started
from persistence.journal import Record, glance, session_id_of
from persistence.journal.behind import journals_in
from persistence.passages import Passage
from persistence.rows import speaker_of

log = structlog.get_logger("coach.shipper")

_LINE_EXTRA = len("xxxxxxxx ") + len("\n")
"""Bytes of a line that are not its payload."""
_READ_AGAIN_SECONDS = 1.0


@dataclass
class Stream:
    """One session's journal."""

    path: Path
    session_id: UUID
    left_behind: bool
    """Whether it was there before this worker: its job is not one of ours."""
    offset: int = 0
    """Bytes whose events are committed."""
    durable: int = 0
    """Bytes that are known to be on disk, whatever happens to the machine."""
    first_at: datetime | None = None
    started: Started | None = None
    speakers: dict[str, str | None] = field(default_factory=dict)
    write_session: bool = True
    taken: bool = False
    """Whether what comes next is on its way to Postgres."""
    over: bool = False
    """Whether its end is known to be in its journal."""
    ended: bool = False
    """Whether its end is committed."""
    kept: bool = False
    """Whether the disk refused to delete it, although it has ended."""
    damaged: int = 0
    """Bytes that were no event."""
    failures: int = 0
    retry_at: float = 0.0

    def learn(self, records: Iterable[Record]) -> None:
        """Keep what later events of the session need to know of earlier ones."""
        for record in records:
            self.first_at = self.first_at or record.at
            if record.kind == "started":
                self.started = cast("Started", record.event)
            elif record.kind == "turn":
                identity, claimed = speaker_of(record)
                if identity:
                    self.speakers[identity] = claimed


@dataclass
class Taken:
    """A passage, and where its stream stands once that is committed."""

    stream: Stream
    passage: Passage
    offset: int
    damaged: int

    @property
    def rows(self) -> int:
        """What it counts for in a batch."""
        return max(1, len(self.passage.stored))

    @property
    def lines(self) -> int:
        """What it counts for in the time that reading takes."""
        return max(1, len(self.passage.records))

    @property
    def size(self) -> int:
        """The bytes that it was read from."""
        return self.offset - self.stream.offset


class Streams:
    """All journals of some folders, and which of them have something new."""

    def __init__(self, folders: Sequence[Path], worker_id: UUID) -> None:
        self.folders = list(folders)
        self.damaged_bytes = 0
        self._worker_id = worker_id
        self._known: dict[UUID, Stream] = {}
        self._places: dict[str, Stream] = {}
        """The same by their paths: all are looked at twice a second, and few are new."""
        self._dirty: dict[UUID, None] = {}
        self.scan(left_behind=True)

    def __iter__(self) -> Iterator[Stream]:
        return iter(list(self._known.values()))

    def scan(self, *, left_behind: bool = False) -> None:
        """Look which journals came, grew and went."""
        sizes = {place: size for folder in self.folders for place, size in journals_in(folder)}
        for place, size in sizes.items():
            stream = self._places.get(place) or self._met(Path(place), left_behind=left_behind)
            if stream is not None:
                self._see(stream, size)
        for place in self._places.keys() - sizes.keys():
            self._forget(self._places[place])

    def _met(self, path: Path, *, left_behind: bool) -> Stream | None:
        try:
            session_id = session_id_of(path)
        except ValueError:
            return None
        stream = self._known.get(session_id)
        if stream is None:
            stream = Stream(path, session_id, left_behind)
            self._known[session_id] = self._places[os.fspath(path)] = stream
        return stream

    def _see(self, stream: Stream, size: int) -> None:
        if stream.ended:
            self._delete(stream)
            return
        if size < stream.offset:  # its job cut back what the disk had refused: it comes another way
            stream.offset = stream.durable = 0
        if size > stream.offset and stream.session_id not in self._dirty:
            self._dirty[stream.session_id] = None

    def wake(self, session_ids: Iterable[UUID]) -> None:
        """Note that sessions have something new; one that is not known is looked for."""
        for session_id in session_ids:
            if session_id not in self._known:
                self.scan()
            elif session_id not in self._dirty:
                self._dirty[session_id] = None

    def grew(self, durable: Mapping[UUID, int]) -> None:
        """Note that sessions have something new, by how many bytes of each are durable."""
        self.wake(durable)
        for session_id, size in durable.items():
            if (stream := self._known.get(session_id)) is not None:
                stream.durable = max(stream.durable, size)

    def reassert(self, session_ids: Iterable[UUID] | None) -> None:
        """Write the rows of sessions that have not ended once more; None for all."""
        for stream in self:
            if not stream.ended and (session_ids is None or stream.session_id in session_ids):
                stream.write_session = True
                self.wake([stream.session_id])

    def take(self, rows: int, size: int, enough: int, now: float) -> list[Taken]:
        """Return new records of sessions that may be tried; the longest waits first.

        As many as make `rows` in Postgres, up to the one that makes `size` bytes full, and of no
        more sessions once that was `enough` lines. A session is not given again before `done`,
        `failed` or `give_back`.
        """
        taken: list[Taken] = []
        count = lines = 0
        for session_id in list(self._dirty):
            if count >= rows or lines >= enough or size <= 0:
                break
            stream = self._known.get(session_id)
            if stream is None:
                del self._dirty[session_id]
            elif not stream.taken and stream.retry_at <= now:
                del self._dirty[session_id]
                if (part := self._read(stream, rows - count, size, now)) is not None:
                    taken.append(part)
                    count += part.rows
                    lines += part.lines
                    size -= part.size
        return taken

    def _read(self, stream: Stream, rows: int, size: int, now: float) -> Taken | None:
        if (known := stream.durable - stream.offset) > 0:
            size = min(size, known)
        try:
            reading = glance(stream.path, stream.offset, rows, size)
            stream.learn(reading.records)
        except FileNotFoundError:
            self._forget(stream)
            return None
        except Exception as error:  # noqa: BLE001 one must not end the shipping of all
            self._put_off(stream, error, now)
            return None
        if stream.first_at is None or not (reading.records or stream.write_session):
            return None
        whole = sum(len(record.payload) + _LINE_EXTRA for record in reading.records)
        damaged = reading.offset - stream.offset - whole if reading.records else 0
        passage = self._passage(stream, reading.records, damaged)
        # what is asked for from now on is asked for of the next passage
        stream.taken, stream.write_session = True, False
        return Taken(stream, passage, reading.offset, damaged)

    def _put_off(self, stream: Stream, error: Exception, now: float) -> None:
        """Try one that cannot be read again later; say so once."""
        if not stream.failures:
            code = getattr(error, "errno", None) or type(error).__name__
            log.error("journal_unreadable", session_id=str(stream.session_id), error=code)
        self.failed(stream, now, _READ_AGAIN_SECONDS)

    def _passage(self, stream: Stream, records: list[Record], damaged: int) -> Passage:
        assert stream.first_at is not None  # noqa: S101 `learn` was given a record
        return Passage(
            stream.session_id,
            self._worker_id,
            stream.first_at,
            records,
            stream.started,
            stream.speakers,
            stream.write_session,
            damaged=bool(stream.damaged + damaged),
        )

    def done(self, taken: Taken) -> None:
        """Note that a passage is committed; delete the journal if that was all of an ended one."""
        stream = taken.stream
        stream.offset, stream.failures, stream.taken = taken.offset, 0, False
        if taken.damaged:
            self._note_damage(stream, taken.damaged)
        stream.ended = any(record.kind == "ended" for record in taken.passage.records)
        if stream.ended:
            self._count_tail(stream)
            self._delete(stream)
        elif stream.offset < stream.durable:
            self._dirty[stream.session_id] = None  # what is not durable yet is told of, or scanned

    def give_back(self, batch: Iterable[Taken]) -> None:
        """Note that passages were not tried, or not as such: they come again."""
        for taken in batch:
            if taken.stream.taken:  # what of the batch is committed is not
                self._again(taken.stream)

    def failed(self, stream: Stream, now: float, pause: float) -> None:
        """Note that a session has to be tried again, `pause` seconds from now."""
        stream.failures += 1
        stream.retry_at = now + pause
        self._again(stream)

    def _again(self, stream: Stream) -> None:
        stream.taken, stream.write_session = False, True
        self._dirty[stream.session_id] = None

    def hurry(self) -> None:
        """Let everything be tried at once that waits for another try."""
        for stream in self:
            stream.retry_at = 0.0

    def _note_damage(self, stream: Stream, size: int) -> None:
        if not stream.damaged:
            log.error("journal_damaged", session_id=str(stream.session_id), bytes=size)
        stream.damaged += size
        self.damaged_bytes += size

    def _delete(self, stream: Stream) -> None:
        """Delete the journal; one that the disk does not let go of is tried again at each look."""
        try:
            stream.path.unlink(missing_ok=True)
        except OSError as error:
            if not stream.kept:
                stream.kept = True
                log.error(  # noqa: TRY400
                    "journal_not_deleted", session_id=str(stream.session_id), error=error.errno
                )
            return
        self._forget(stream)

    def _count_tail(self, stream: Stream) -> None:
        """Count what is behind a journal's end: it is no event."""
        with contextlib.suppress(OSError):
            if (tail := stream.path.stat().st_size - stream.offset) > 0:
                self._note_damage(stream, tail)

    def _forget(self, stream: Stream) -> None:
        self._known.pop(stream.session_id, None)
        self._places.pop(os.fspath(stream.path), None)
        self._dirty.pop(stream.session_id, None)

    def positions(self) -> dict[Path, int | None]:
        """Return up to where (bytes) each journal is committed; None for all of it."""
        return {stream.path: None if stream.ended else stream.offset for stream in self}
