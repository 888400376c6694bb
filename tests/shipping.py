"""Journals, a shipper that runs, and what Postgres then holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import psycopg
from psycopg.rows import dict_row

from persistence.deferring import AfterSession, Db
from persistence.events import (
    Completeness,
    Ended,
    EndReason,
    Event,
    Marker,
    Receipt,
    Role,
    Started,
    Turn,
)
from persistence.journal.lines import encode
from persistence.shipper import Shipper

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
TABLES = ("sessions", "turns", "session_events", "dead_letters")
NOT_FACTS = ("id", "created_at")
"""Columns of a dead letter that are new each time it is made."""


def started(**changed: Any) -> Started:
    given = {"room_name": "room", "client_identity": "client-anna", "pipeline": "stt-llm-tts"}
    return Started.model_validate({"at": T0, "prompt_version": "1", **given, **changed})


def turn(session_id: UUID, seq: int, /, **changed: Any) -> Turn:
    said = T0 + timedelta(seconds=10 * seq)
    given = {
        "at": said + timedelta(seconds=2),
        "turn_id": uuid5(session_id, f"turn {seq}"),
        "seq": seq,
        "item_id": f"item-{seq}",
        "role": Role.CLIENT,
        "speaker_identity": "client-anna",
        "text": f"Said as number {seq}.",
        "started_at": said,
        "ended_at": said + timedelta(seconds=1),
        "metrics": {"transcription_delay": 0.2},
    }
    return Turn.model_validate({**given, **changed})


def marker(session_id: UUID, seq: int, **changed: Any) -> Marker:
    said = T0 + timedelta(seconds=10 * seq)
    given = {"at": said, "marker_id": uuid5(session_id, f"marker {seq}"), "type": "takeover"}
    return Marker.model_validate({"seq": seq, **given, **changed})


def ended(after_seconds: float = 100, **changed: Any) -> Ended:
    receipt = {"turn_count": 2, "transcript_sha256": "aa", "completeness": Completeness.COMPLETE}
    given = {
        "at": T0 + timedelta(seconds=after_seconds),
        "reason": EndReason.CLIENT_LEFT,
        "receipt": Receipt.model_validate(receipt | changed.pop("receipt", {})),
    }
    return Ended.model_validate({**given, **changed})


def conversation(session_id: UUID) -> list[Event]:
    return [
        started(),
        turn(session_id, 1),
        marker(session_id, 2),
        turn(session_id, 3, role=Role.AI, speaker_identity="agent", text="And then?"),
        ended(),
    ]


def journal(folder: Path, events: Sequence[Event], session_id: UUID | None = None) -> UUID:
    """Write a journal as a job that is gone left it."""
    session_id = session_id or uuid4()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{session_id}.journal").write_bytes(b"".join(map(encode, events)))
    return session_id


class Deferred:
    """What the worker would defer after a session: here a row, in the same transaction."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.delays: list[timedelta] = []
        with psycopg.connect(url) as db:
            db.execute("CREATE TABLE IF NOT EXISTS deferred (session_id uuid)")

    async def __call__(
        self, db: Db, session_ids: Sequence[UUID], *, delay: timedelta = timedelta(0)
    ) -> None:
        self.delays.append(delay)
        await db.execute("INSERT INTO deferred SELECT unnest(%s::uuid[])", [list(session_ids)])

    @property
    def sessions(self) -> list[UUID]:
        with psycopg.connect(self._url) as db:
            return [session_id for (session_id,) in db.execute("SELECT * FROM deferred")]


async def nothing(db: Db, session_ids: Sequence[UUID], *, delay: timedelta = timedelta(0)) -> None:
    """Defer nothing."""


@asynccontextmanager
async def shipping(
    url: str,
    *folders: Path,
    worker_id: UUID | None = None,
    after_session: AfterSession = nothing,
) -> AsyncIterator[Shipper]:
    """Run a shipper for the block's time."""
    shipper = Shipper(folders, url, worker_id or uuid4(), after_session, poll_seconds=0.05)
    running = asyncio.create_task(shipper.run())
    try:
        yield shipper
    finally:
        shipper.stop()
        await asyncio.wait_for(running, 20)


async def ship(url: str, *folders: Path, **options: Any) -> None:
    """Ship all that is in `folders`."""
    async with shipping(url, *folders, **options) as shipper:
        assert await shipper.flushed(20) == 0


def stored(url: str, table: str = "sessions", **where: Any) -> list[dict[str, Any]]:
    """Return the rows of `table` in a fixed order."""
    condition = " AND ".join(["true", *(f"{name} = %({name})s" for name in where)])
    with psycopg.connect(url, row_factory=dict_row) as db:
        rows = db.execute(f"SELECT * FROM {table} WHERE {condition}", where).fetchall()
    return sorted(rows, key=lambda row: (str(row.get("seq", "")), str(row.get("id", ""))))


def journals(folder: Path) -> list[Path]:
    return list(folder.glob("*.journal"))


def value(url: str, query: str) -> Any:
    """Return the one value that `query` asks for."""
    with psycopg.connect(url) as db:
        row = db.execute(query).fetchone()
    return row and row[0]


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another connection brings about."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # Postgres's doing: nothing to await
            await asyncio.sleep(0.01)


def everything(url: str) -> dict[str, list[dict[str, Any]]]:
    """Return all that shipping makes, without what is new each time."""
    held = {table: stored(url, table) for table in TABLES}
    for letter in held["dead_letters"]:
        for name in NOT_FACTS:
            del letter[name]
    held["dead_letters"].sort(key=str)
    return held


def execute(url: str, statement: str, *parameters: Any) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(statement, parameters)
