"""Products that are broken on purpose: in each a process of a campaign runs with one mistake in it.

They take the place of the bodies of those processes; a campaign that does not find them is blind.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from agent.jobs import after_session
from agent.jobs.follow_up import defer_all
from agent.local.chaos import job, worker
from agent.settings import Settings
from agent.worker.clock import SessionClock
from agent.worker.people import Person
from agent.worker.recorder import Recorder
from persistence import analyses, liveness, sessions, turns
from persistence.events import Role
from persistence.journal.file import Appended, JournalFile
from persistence.journal.writer import JournalWriter

_worker, _job = worker.run, job.run
_RENEW, _RUNS_OUT = liveness._RENEW, "now() + %(seconds)s * interval '1 s'"


def _replace(owner: object, **parts: Callable[..., Any]) -> None:
    for name, part in parts.items():
        setattr(owner, name, part)


def forgetful_worker(settings: Settings, record: Path) -> None:
    """Ship every turn but one in five."""
    insert_lines = turns.insert_lines

    async def most(db: Any, lines: Any, claims: Any) -> None:
        kept = [line for line in lines if json.loads(line)["seq"] % 5]
        await insert_lines(db, kept, claims)

    turns.insert_lines = most
    _worker(settings, record)


def stammering_worker(settings: Settings, record: Path) -> None:
    """Take a turn that comes again for another one."""
    insert_lines = turns.insert_lines

    async def each_twice(db: Any, lines: Any, claims: Any) -> None:
        await insert_lines(db, [*lines, *map(_again, lines)], claims)

    turns.insert_lines = each_twice
    _worker(settings, record)


def _again(line: bytes) -> bytes:
    said = json.loads(line)
    turn_id = UUID(int=UUID(said["turn_id"]).int ^ 1)
    return json.dumps({**said, "turn_id": str(turn_id), "item_id": f"{said['item_id']}+"}).encode()


def quarrelsome_worker(settings: Settings, record: Path) -> None:
    """Take a turn that is there already for a mistake of who sends it again."""
    for name in ("INSERT", "INSERT_LINES"):
        setattr(turns, name, getattr(turns, name).partition("ON CONFLICT")[0])
    _worker(settings, record)


def idle_worker(settings: Settings, record: Path) -> None:
    """Defer no job when a session ends."""

    async def nothing(*_: Any, **__: Any) -> None:
        return

    _replace(after_session, defer=nothing)
    _worker(settings, record)


def eager_worker(settings: Settings, record: Path) -> None:
    """Defer the jobs of a session twice, and make a summary each time."""

    async def twice(*arguments: Any) -> None:
        await defer_all(*arguments)
        await defer_all(*arguments)

    async def never(*_: Any) -> bool:
        return False

    async def always(*_: Any) -> bool:
        return True

    _replace(after_session, defer_all=twice)
    _replace(analyses, has_run=never, begin=always)
    _worker(settings, record)


def jealous_worker(settings: Settings, record: Path) -> None:
    """Reclaim the sessions of workers whose lease has not run out."""
    liveness._RECLAIM = liveness._RECLAIM.replace("l.expires_at <= now()", "true")
    _worker(settings, record)


def untruthful_worker(settings: Settings, record: Path) -> None:
    """Say of every session that its client left."""
    sessions.END = sessions.END.replace(
        "end_reason = given.end_reason", "end_reason = COALESCE('client_left', given.end_reason)"
    )
    _worker(settings, record)


def lazy_job(settings: Settings, *arguments: Any) -> None:
    """Acknowledge what is in memory alone, until the session ends."""
    append, held = JournalFile.append, bytearray()

    def later(self: JournalFile, lines: bytes, at: float) -> Appended:
        held.extend(lines)
        if b'"kind":"ended"' in lines:
            append(self, bytes(held), at)
        return Appended(len(lines), None)

    _replace(JournalFile, append=later)
    _job(settings, *arguments)


def deaf_job(settings: Settings, *arguments: Any) -> None:
    """Journal no segment before it is a turn."""
    append = JournalWriter.append

    def without_segments(self: JournalWriter, *events: Any) -> None:
        append(self, *(event for event in events if event.kind != "segment"))

    _replace(JournalWriter, append=without_segments)
    _job(settings, *arguments)


def confused_job(settings: Settings, *arguments: Any) -> None:
    """Take every third piece of speech for the coach's."""
    segment, heard = Recorder.segment, itertools.count(1)

    def anybodys(self: Recorder, now: Any, said: Any, speaker: Person) -> Any:
        other = Person(Role.COACH, "coach-1")
        return segment(self, now, said, speaker if next(heard) % 3 else other)

    _replace(Recorder, segment=anybodys)
    _job(settings, *arguments)


def clockwatching_job(settings: Settings, *arguments: Any) -> None:
    """Look at the machine's clock for when something was said."""
    _replace(SessionClock, now=lambda _: datetime.now(UTC))
    _job(settings, *arguments)


def drowsy_job(settings: Settings, *arguments: Any) -> None:
    """Show by the machine's clock that one is alive."""
    touch = JournalFile.touch
    _replace(JournalFile, touch=lambda self, _: touch(self, time.time()))
    _job(settings, *arguments)


def solitary_worker(settings: Settings, record: Path) -> None:
    """Reckon leases by the machine's clock, not by the one that all workers share."""
    renew = liveness.Lease.renew

    async def by_its_own(self: liveness.Lease) -> None:
        runs_out = f"to_timestamp({time.time() + settings.lease_seconds})"
        kept = _RENEW.replace("GREATEST(l.expires_at, EXCLUDED.expires_at)", "EXCLUDED.expires_at")
        liveness._RENEW = kept.replace(_RUNS_OUT, runs_out)
        await renew(self)

    liveness.Lease.renew = by_its_own  # type: ignore[method-assign]
    _worker(settings, record)


def impatient_job(settings: Settings, *arguments: Any) -> None:
    """Drop what the AI said when it was interrupted."""
    ai_turn = Recorder.ai_turn

    def unless_interrupted(self: Recorder, now: Any, item: Any) -> Any:
        events = ai_turn(self, now, item)
        return [] if item.interrupted else events

    _replace(Recorder, ai_turn=unless_interrupted)
    _job(settings, *arguments)
