"""Following a running session: each turn once as it lands, to everybody, and the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest
import uvicorn
from serving import START, add_session, add_turns, settings

from agent.api import bounds, following
from agent.api.app import create_app
from persistence import database, keys
from persistence.keys import NewKey

LIST = "/api/admin/transcripts"


class Seen(NamedTuple):
    id: str
    name: str
    data: dict[str, Any]


class Server:
    """The API on a port, in this loop: what streams cannot be had from the application alone."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.app = create_app(settings(database_url))
        config = uvicorn.Config(
            self.app,
            port=0,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        self.uvicorn = uvicorn.Server(config)
        self.http = httpx2.AsyncClient(timeout=20)
        self.db: psycopg.AsyncConnection[Any]

    @property
    def url(self) -> str:
        port = self.uvicorn.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    async def key(self, scope: str, identity: str | None = None) -> str:
        key = keys.generate()
        await keys.create(self.db, key, NewKey("test", [scope], identity))
        return key

    @asynccontextmanager
    async def watching(
        self, session: UUID, key: str, last: str | None = None
    ) -> AsyncIterator[AsyncIterator[Seen]]:
        """Follow a session; the events as they come."""
        headers = {"X-API-Key": key} | ({"Last-Event-ID": last} if last else {})
        path = f"{self.url}{LIST}/{session}/events"
        async with self.http.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200
            yield events(answer)

    async def connections(self) -> int:
        found = await self.db.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE '%following'"
        )
        row = await found.fetchone()
        return int(row[0]) if row else 0


async def events(answer: httpx2.Response) -> AsyncIterator[Seen]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if not line and "event" in fields:
            yield Seen(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}
        elif ": " in line:
            name, _, value = line.partition(": ")
            fields[name] = value


async def take(seen: AsyncIterator[Seen], count: int) -> list[Seen]:
    async with asyncio.timeout(20):
        return [await anext(seen) for _ in range(count)]


def said(seen: list[Seen]) -> list[str]:
    return [event.data["content"] for event in seen if event.name == "turn"]


async def say(server: Server, session: UUID, seq: int, text: str) -> None:
    await server.db.execute(
        "INSERT INTO turns (id, session_id, seq, item_id, role, text, started_at, ended_at,"
        " recorded_at) VALUES (%s, %s, %s, %s, 'client', %s, %s, %s, %s)",
        [uuid4(), session, seq, f"item-{seq}", text, START, START, START],
    )


async def end(server: Server, session: UUID) -> None:
    await server.db.execute(
        "UPDATE sessions SET status = 'completed', end_reason = 'client_left', ended_at = %s"
        " WHERE id = %s",
        [START, session],
    )


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Server]:
    server = Server(database_url)
    serving = asyncio.create_task(server.uvicorn.serve())
    while not server.uvicorn.started:  # noqa: ASYNC110 uvicorn has no event for it
        await asyncio.sleep(0.01)
    server.db = await database.connect(database_url, "test")
    try:
        yield server
    finally:
        await server.http.aclose()
        await server.db.close()
        server.uvicorn.should_exit = True
        await serving


async def test_what_was_said_so_far_each_turn_as_it_lands_and_the_end(server: Server) -> None:
    session = await add_session(server.db, status="active")
    await add_turns(server.db, session, [{"text": "one"}, {"text": "two"}])
    async with server.watching(session, await server.key("admin")) as seen:
        assert said(await take(seen, 2)) == ["one", "two"]
        await say(server, session, 3, "three")
        assert said(await take(seen, 1)) == ["three"]
        await end(server, session)
        (last,) = await take(seen, 1)
        assert (last.name, last.data["status"]) == ("end", "completed")
        assert [event async for event in seen] == [], "the stream ends with it"


async def test_who_comes_back_goes_on_behind_the_last_event(server: Server) -> None:
    session = await add_session(server.db, status="active")
    await add_turns(server.db, session, [{"text": text} for text in ("one", "two", "three")])
    key = await server.key("admin")
    async with server.watching(session, key) as seen:
        ids = [event.id for event in await take(seen, 3)]
    await say(server, session, 4, "four")
    async with server.watching(session, key, last=ids[1]) as seen:
        assert said(await take(seen, 2)) == ["three", "four"]


async def test_a_turn_that_landed_late_is_never_left_out(server: Server) -> None:
    """Put through from the dead letters, say, with a number from before: all is given again."""
    session = await add_session(server.db, status="active")
    await say(server, session, 1, "one")
    await say(server, session, 3, "three")
    key = await server.key("admin")
    async with server.watching(session, key) as seen:
        last = (await take(seen, 2))[-1].id
    await say(server, session, 2, "two")
    async with server.watching(session, key, last=last) as seen:
        assert said(await take(seen, 3)) == ["one", "two", "three"]


async def test_an_event_id_of_nowhere_gives_everything(server: Server) -> None:
    session = await add_session(server.db, status="active")
    await say(server, session, 1, "one")
    async with server.watching(session, await server.key("admin"), last="99-99") as seen:
        assert said(await take(seen, 1)) == ["one"]


async def test_many_watch_over_one_connection_and_each_gets_every_turn_once(
    server: Server,
) -> None:
    session = await add_session(server.db, status="active")
    key = await server.key("admin")

    async def watch(ready: asyncio.Barrier) -> list[str]:
        async with server.watching(session, key) as seen:
            first = await take(seen, 1)
            await ready.wait()
            return said(first + [event async for event in seen])

    await say(server, session, 1, "0")
    ready = asyncio.Barrier(21)
    watchers = [asyncio.create_task(watch(ready)) for _ in range(20)]
    await ready.wait()
    assert await server.connections() == 1
    for seq in range(2, 12):
        await say(server, session, seq, str(seq))
    await end(server, session)
    expected = ["0", *map(str, range(2, 12))]
    assert await asyncio.gather(*watchers) == [expected] * 20


async def test_following_goes_on_after_postgres_cut_the_connection(server: Server) -> None:
    session = await add_session(server.db, status="active")
    async with server.watching(session, await server.key("admin")) as seen:
        await say(server, session, 1, "one")
        await take(seen, 1)
        await server.db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE '%following'"
        )
        await say(server, session, 2, "two")
        assert said(await take(seen, 1)) == ["two"]


async def test_who_may_not_read_a_session_may_not_follow_it(server: Server) -> None:
    session = await add_session(server.db, status="active", client_identity="client-ada")
    for key, status in (
        (await server.key("client", "client-ada"), 200),
        (await server.key("client", "client-bob"), 404),
        (await server.key("internal"), 403),
        (keys.generate(), 401),
    ):
        path = f"{server.url}{LIST}/{session}/events"
        async with server.http.stream("GET", path, headers={"X-API-Key": key}) as answer:
            assert answer.status_code == status


async def test_a_watcher_who_does_not_keep_up_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "WAITING_EVENTS", 2)
    watcher = following.Watcher(uuid4())
    event = following.Event("1-1", "turn", "{}")
    assert [watcher.give(event) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("ending", ["revoked_at = now()", "expires_at = now()"])
async def test_a_key_that_holds_no_longer_follows_no_longer(
    server: Server, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(following, "KEYS_SECONDS", 0.2)
    session = await add_session(server.db, status="active")
    await say(server, session, 1, "one")
    kept, lost = await server.key("admin"), await server.key("admin")
    async with server.watching(session, kept) as goes_on, server.watching(session, lost) as seen:
        await take(goes_on, 1)
        await take(seen, 1)
        query = f"UPDATE api_keys SET {ending} WHERE key_hash = %s"
        await server.db.execute(query.encode(), [keys.hash_of(lost)])
        async with asyncio.timeout(20):
            assert [event async for event in seen] == []
        await say(server, session, 2, "two")
        assert said(await take(goes_on, 1)) == ["two"]


async def test_who_goes_before_the_first_reading_takes_it_from_nobody_else() -> None:
    """Nobody reads here: both wait for that when one of them goes."""
    sessions = following.Following("postgresql://nowhere")
    session = uuid4()

    async def watch() -> None:
        async with sessions.watch(session, uuid4(), None):
            pass

    goes, stays = asyncio.create_task(watch()), asyncio.create_task(watch())
    await asyncio.sleep(0)
    goes.cancel()
    await asyncio.wait([goes])
    sessions._watched[session].read.set()
    async with asyncio.timeout(5):
        await stays
    assert not sessions._watched


async def test_an_end_that_was_taken_back_is_none_for_who_comes_then(server: Server) -> None:
    """Also while somebody has still to take in what they were told of that end."""
    session, key = await add_session(server.db, status="active"), await server.key("admin")
    reader = await keys.find(server.db, key)
    assert reader
    await say(server, session, 1, "one")
    sessions = server.app.state.resources.following
    async with asyncio.timeout(20), sessions.watch(session, reader.id, None) as slow:
        await end(server, session)
        assert [await slow.events.get() for _ in range(3)][2] is None
        query = "UPDATE sessions SET status = 'active', end_reason = NULL, ended_at = NULL"
        await server.db.execute(query)
        await say(server, session, 2, "two")
        assert (await slow.events.get()).name == "turn"
        async with server.watching(session, key) as seen:
            assert said(await take(seen, 2)) == ["one", "two"]
            await say(server, session, 3, "three")
            assert said(await take(seen, 1)) == ["three"]


@pytest.mark.parametrize("most", ["AT_ONCE", "AT_ONCE_FROM_AN_ADDRESS"])
async def test_one_holds_only_so_many_streams(
    server: Server, monkeypatch: pytest.MonkeyPatch, most: str
) -> None:
    """A key does, and an address with however many keys."""
    monkeypatch.setattr(f"agent.api.events.{most}", 1)
    session = await add_session(server.db, status="active", client_identity="client-ada")
    await say(server, session, 1, "one")
    key, other = [await server.key("client", "client-ada") for _ in range(2)]
    refused = key if most == "AT_ONCE" else other
    path = f"{server.url}{LIST}/{session}/events"
    async with server.watching(session, key) as seen:
        await take(seen, 1)
        answer = await server.http.get(path, headers={"X-API-Key": refused})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
        if refused == key:
            async with server.watching(session, other) as another:
                await take(another, 1)
        await end(server, session)
        await take(seen, 1)
    async with server.watching(session, refused) as again:
        await take(again, 1)


async def test_who_stops_reading_is_cut_off(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "REQUEST_SECONDS", 0.5)
    session = await add_session(server.db, status="active")
    key = await server.key("admin")
    sessions = server.app.state.resources.following
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(server.url.rpartition(":")[2]), limit=1024
    )
    writer.write(
        f"GET {LIST}/{session}/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    await say(server, session, 1, "x" * 20_000_000)
    async with asyncio.timeout(20):
        while not sessions.watchers:  # noqa: ASYNC110 nothing tells of it
            await asyncio.sleep(0.01)
        while sessions.watchers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    writer.close()


async def test_a_stop_lets_everybody_go_at_once(server: Server) -> None:
    session = await add_session(server.db, status="active")
    await say(server, session, 1, "one")
    async with server.watching(session, await server.key("admin")) as seen:
        await take(seen, 1)
        server.app.state.resources.following.stop()
        assert [event async for event in seen] == []
