"""Following sessions as they go on: one connection to Postgres, however many watch.

`Following.run` hears of what lands and reads it, once for all who watch that session; each watcher
has a queue of its own. One who does not keep up is let go, and comes back with the id of the last
event that came through: it says how far that was and how many turns there were, so that a turn that
landed late behind it is noticed, and everything is given again rather than something left out.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

import structlog
from psycopg import AsyncConnection

from agent.api import messages
from persistence import database, keys, landings, transcripts
from persistence.errors import PersistenceError
from persistence.transcripts import TurnRow

log = structlog.get_logger("coach.api")

LOOK_SECONDS = 0.1
"""How long who comes first to a session may wait before its turns are read."""
WAITING_EVENTS = 1000
"""Of one watcher, who is let go when there would be more."""
RETRY_SECONDS = 1.0
KEYS_SECONDS = 10.0
"""How long a key that was revoked, or ran out, may still follow."""
ANSWER_SECONDS = 10.0
"""How long Postgres may take to answer before it is taken for gone."""


@dataclass(frozen=True)
class Event:
    id: str
    """How far it goes: `<seq>-<turns up to that>`."""
    name: str
    """turn or end."""
    data: str
    """JSON."""

    @cached_property
    def encoded(self) -> bytes:
        """The event as it is sent, to however many."""
        return f"event: {self.name}\ndata: {self.data}\nid: {self.id}\n\n".encode()


class NoPlaceError(Exception):
    """A key, or an address, follows as many sessions as it may at once."""


class Watcher:
    """One who follows; `None` in the queue says that nothing more comes."""

    def __init__(self, key_id: UUID) -> None:
        self.key_id = key_id
        self.events: asyncio.Queue[Event | None] = asyncio.Queue()

    def give(self, event: Event | None) -> bool:
        """Add an event; return False if there are too many already."""
        if self.events.qsize() >= WAITING_EVENTS:
            return False
        self.events.put_nowait(event)
        return True


@dataclass
class Watched:
    """What is known of a session that somebody watches."""

    watchers: set[Watcher] = field(default_factory=set)
    interested: int = 0
    """The watchers, and those who wait for its first reading to become one."""
    turns: dict[UUID, Event] = field(default_factory=dict)
    """In the order in which they landed."""
    end: Event | None = None
    read: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has been read."""
    latest: int = 0


class Following:
    """All sessions that somebody watches in this process."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._watched: dict[UUID, Watched] = {}
        self._unread: set[UUID] = set()
        self._wanted = asyncio.Event()
        self._held: Counter[str] = Counter()

    @contextmanager
    def place(self, holder: str, most: int) -> Iterator[None]:
        """Take one of the `most` places to follow that `holder` has; raises NoPlaceError."""
        if self._held[holder] >= most:
            raise NoPlaceError
        self._held[holder] += 1
        try:
            yield
        finally:
            self._held[holder] -= 1
            self._held += Counter()  # without those at zero

    @asynccontextmanager
    async def watch(
        self, session_id: UUID, key_id: UUID, last_event: str | None
    ) -> AsyncIterator[Watcher]:
        """Follow a session from behind `last_event` on, from its start if that is None.

        It ends with the session, or when the key that it is followed with holds no longer.
        """
        watched = self._watched.setdefault(session_id, Watched())
        watched.interested += 1
        watcher = Watcher(key_id)
        try:
            if not watched.read.is_set():
                self._unread.add(session_id)
                self._wanted.set()
                await watched.read.wait()
            # from here to the next await nothing can land in between
            for event in _behind(watched, last_event):
                watcher.events.put_nowait(event)
            if watched.end is not None:
                watcher.events.put_nowait(None)
            watched.watchers.add(watcher)
            yield watcher
        finally:
            watched.watchers.discard(watcher)
            watched.interested -= 1
            if not watched.interested:
                del self._watched[session_id]

    @property
    def watchers(self) -> int:
        """How many watch, in this process."""
        return sum(len(watched.watchers) for watched in self._watched.values())

    def stop(self) -> None:
        """Let all go who watch: this process is about to end."""
        for watched in self._watched.values():
            for watcher in watched.watchers:
                watcher.events.put_nowait(None)

    async def run(self) -> None:
        """Hear and give on, until cancelled; while nobody watches there is no connection."""
        while True:
            await self._wanted.wait()
            try:
                with database.translated():
                    async with await database.connect(
                        self._dsn, "following", answer_seconds=ANSWER_SECONDS
                    ) as db:
                        await self._serve(db)
            except PersistenceError as error:
                log.warning("following_interrupted", error_type=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311

    async def _serve(self, db: AsyncConnection[Any]) -> None:
        await landings.listen(db)
        self._unread |= set(self._watched)  # something may have landed while nobody listened
        asked_at = -math.inf
        while self._watched:
            if time.monotonic() - asked_at >= KEYS_SECONDS:
                # it also shows that Postgres is there, which a connection that only hears does not
                await self._let_go(db)
                asked_at = time.monotonic()
            unread, self._unread = self._unread, set()
            for session_id in unread & set(self._watched):
                await self._read(db, session_id)
            self._unread |= await landings.heard(db, LOOK_SECONDS)
        self._wanted.clear()

    async def _let_go(self, db: AsyncConnection[Any]) -> None:
        """Let go who follows with a key that holds no longer."""
        watchers = {watcher for watched in self._watched.values() for watcher in watched.watchers}
        ended = await keys.ended(db, {watcher.key_id for watcher in watchers})
        for watcher in watchers:
            if watcher.key_id in ended:
                watcher.events.put_nowait(None)

    async def _read(self, db: AsyncConnection[Any], session_id: UUID) -> None:
        """Read what is new of a session and give it to all who watch."""
        found = await transcripts.whole(db, session_id)
        row, turns = (found.session, found.turns) if found else (None, [])
        watched = self._watched.get(session_id)
        if watched is None:
            return
        # by order of recording, in which they land as a rule: so that a reader of them all, later,
        # comes to the same ids
        new = sorted((t for t in turns if t.id not in watched.turns), key=lambda turn: turn.seq)
        events = [_landed(watched, turn, messages.message(row, turn)) for turn in new if row]
        # an end that was taken back, as that of a reclaim may be, is none for who comes now
        is_over = row is None or row.ended_at is not None
        watched.end = _end(watched, row) if is_over else None
        watched.read.set()
        for watcher in list(watched.watchers):
            self._give(watched, watcher, events)

    def _give(self, watched: Watched, watcher: Watcher, events: list[Event]) -> None:
        more = [*events, *([watched.end, None] if watched.end else [])]
        if not all(watcher.give(event) for event in more):
            watched.watchers.discard(watcher)
            watcher.events.put_nowait(None)
            log.warning("watcher_too_slow")


def _landed(watched: Watched, turn: TurnRow, said: messages.Message) -> Event:
    watched.latest = max(watched.latest, turn.seq)
    event = Event(
        f"{watched.latest}-{len(watched.turns) + 1}",
        "turn",
        said.model_dump_json(exclude_none=True),
    )
    watched.turns[turn.id] = event
    return event


def _behind(watched: Watched, last_event: str | None) -> list[Event]:
    """Return the events behind `last_event`; all, if it is none of this session's."""
    events = list(watched.turns.values())
    ids = [event.id for event in events]
    first = ids.index(last_event) + 1 if last_event in ids else 0
    return [*events[first:], *([watched.end] if watched.end else [])]


def _end(watched: Watched, row: transcripts.SessionRow | None) -> Event:
    data = messages.session(row).model_dump_json(exclude_none=True) if row else "{}"
    return Event(f"{watched.latest}-{len(watched.turns)}", "end", data)
