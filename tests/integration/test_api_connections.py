"""Connections to the API's server: who asks for nothing, or reads nothing, does not keep one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from agent.api import connections

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 20_000_000


async def app(scope: Scope, _: Receive, send: Send) -> None:
    """Answer a little, a lot, or after a while that is longer than anybody's patience."""
    body = b"x" * (LARGE if scope["path"] == "/large" else 2)
    if scope["path"] == "/slow":
        await asyncio.sleep(4 * connections.PATIENCE_SECONDS)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.3)
    config = uvicorn.Config(
        app,
        port=0,
        lifespan="off",
        log_config=None,
        http=connections.Connection,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def cut(reader: asyncio.StreamReader) -> bool:
    """Wait until the server closes; return whether that was without another word."""
    async with asyncio.timeout(20):
        try:
            return await reader.read() == b""
        except ConnectionResetError:
            return True


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nA: b"])
async def test_a_connection_that_never_asks_is_cut(port: int, said: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    assert await cut(reader)
    writer.close()


async def test_so_is_one_that_asked_once_and_then_stops_in_the_middle(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert await reader.readexactly(2) == b"xx"
    writer.write(b"GET / HT")
    assert await cut(reader)
    writer.close()


async def test_so_is_one_that_does_not_read_its_answer(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(REQUEST.replace(b"/ ", b"/large ", 1))
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await asyncio.sleep(8 * connections.PATIENCE_SECONDS)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while more := await loop.sock_recv(client, 1_000_000):
                received += len(more)
        assert received < LARGE


async def test_one_whose_answer_takes_its_time_or_who_asks_again_is_kept(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for path in (b"/slow ", b"/ ", b"/slow "):
        writer.write(REQUEST.replace(b"/ ", path, 1))
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"xx"
    writer.close()


async def test_one_address_has_only_so_many_connections(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is cut, and there is place again for one that goes."""
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(connections, "AT_ONCE", 2)
    monkeypatch.setattr(connections, "is_listed", lambda *_: False)
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await cut(reader)
    writer.close()
    held[0][1].close()
    async with asyncio.timeout(20):
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST)
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionResetError):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                break
    writer.close()
    held[1][1].close()


async def test_a_proxy_has_as_many_as_it_likes(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "AT_ONCE", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_what_is_no_http_is_answered_like_any_error(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x16\x03\x01\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"x-request-id: " in head.lower()
    assert set(json.loads(body)) == {"error", "details"}
    writer.close()
