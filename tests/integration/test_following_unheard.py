"""A connection that only listens may die without a word: it is noticed, and nothing is missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict
from serving import add_session, add_turns

from agent.api import following
from agent.api.following import Event, Following, Watcher
from persistence import database

_SOCKET = ".s.PGSQL.5432"


class Wire:
    """The way to Postgres; what is connected when it goes silent stays so, and stays open."""

    def __init__(self, database_url: str, folder: Path) -> None:
        given = conninfo_to_dict(database_url)
        self._server, self.path = Path(str(given["host"])) / _SOCKET, folder / _SOCKET
        self.url = f"postgresql://postgres@/{given['dbname']}?host={quote(str(folder), safe='/')}"
        self._silent: set[asyncio.StreamReader] = set()
        self._open: set[asyncio.StreamReader] = set()

    def go_silent(self) -> None:
        self._silent |= self._open

    async def called(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        server, ask = await asyncio.open_unix_connection(self._server)
        self._open |= {client, server}
        try:
            await asyncio.gather(self._pass_on(client, ask), self._pass_on(server, answer))
        except asyncio.CancelledError:
            pass  # at the loop's end; the server asks what this raised, and takes no cancellation
        finally:
            ask.close()
            answer.close()

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while said := await source.read(65536):
            if source not in self._silent:
                sink.write(said)
        sink.close()


@asynccontextmanager
async def wired(database_url: str, folder: Path) -> AsyncIterator[Wire]:
    wire = Wire(database_url, folder)
    async with await asyncio.start_unix_server(wire.called, wire.path):
        yield wire


async def next_text(watcher: Watcher) -> Event:
    async with asyncio.timeout(20):
        event = await watcher.events.get()
    assert event is not None
    return event


async def test_a_silent_connection_is_noticed_and_what_it_did_not_say_is_given_on(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "KEYS_SECONDS", 0.2)
    monkeypatch.setattr(following, "ANSWER_SECONDS", 0.5)
    db = await database.connect(database_url, "test")
    async with db, wired(database_url, tmp_path) as wire:
        session = await add_session(db, status="active")
        await add_turns(db, session, [{"text": "one"}])
        row = await (await db.execute("SELECT gen_random_uuid()")).fetchone()
        await db.execute(
            "INSERT INTO api_keys (id, name, key_hash, scopes) VALUES (%s, 'x', 'x', '{admin}')",
            row,
        )
        assert row is not None
        sessions = Following(wire.url)
        listening = asyncio.create_task(sessions.run())
        async with sessions.watch(session, row[0], None) as watcher:
            assert "one" in (await next_text(watcher)).data
            wire.go_silent()
            await db.execute(
                "INSERT INTO turns (id, session_id, seq, item_id, role, text, started_at, ended_at,"
                " recorded_at) VALUES (%s, %s, 2, 'two', 'client', 'two', now(), now(), now())",
                [uuid4(), session],
            )
            assert "two" in (await next_text(watcher)).data
        listening.cancel()
        await asyncio.wait([listening])
