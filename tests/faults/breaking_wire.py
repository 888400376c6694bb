"""Postgres behind a wire that breaks at a chosen message: between any two steps of a client.

A Unix socket in front of the server's. What a client sends goes on message by message and is
counted, so that a fault can be put anywhere: before a request arrives, after it was carried out but
before its answer is heard, or by an operator who ends the backend.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

_SOCKET = ".s.PGSQL.5432"
_BACKEND_KEY, _READY, _FLUSH = b"K", b"Z", b"H"


class Break(StrEnum):
    REQUEST_LOST = "request_lost"
    """The message never arrives."""
    ANSWER_LOST = "answer_lost"
    """What was asked is done, and nobody hears of it."""
    BACKEND_ENDED = "backend_ended"
    """An operator ends the backend: the client is told so, with a SQLSTATE."""


class Wire:
    """The way to one database, until `async with` ends; `operator` may end its backends."""

    def __init__(self, database_url: str, folder: Path, operator: psycopg.Connection[Any]) -> None:
        given = conninfo_to_dict(database_url)
        self._server = Path(str(given["host"])) / _SOCKET
        self._operator = operator
        self._socket = folder / _SOCKET
        self.url = f"postgresql://postgres@/{given['dbname']}?host={quote(str(folder), safe='/')}"
        self.broken = asyncio.Event()
        """Set when the fault that was asked for has happened."""
        self.down = False
        """Whether nobody gets through."""
        self._left: int | None = None
        self._how = Break.REQUEST_LOST
        self._calls: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_unix_server(self._called, self._socket)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        assert self._listening is not None
        self._listening.close()
        await self.hang_up()

    def break_at(self, message: int, how: Break) -> None:
        """Break once, at the client's message number `message` from now (1, 2, …)."""
        self.broken.clear()
        self._left, self._how = message, how

    def mend(self) -> None:
        """Let everything through again."""
        self.down, self._left = False, None

    async def hang_up(self) -> None:
        """Cut every connection that there is."""
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _called(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        call = asyncio.create_task(self._serve(client, answer))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        with contextlib.closing(answer):
            if not self.down:
                await _Call(self, client, answer).run(self._server)

    def due(self) -> Break | None:
        """Count one message; return how to break if it is the one."""
        if self._left is None:
            return None
        self._left -= 1
        if self._left > 0:
            return None
        self._left = None
        return self._how

    def end_backend(self, pid: int) -> None:
        self._operator.execute("SELECT pg_terminate_backend(%s)", [pid])


class _Call:
    """One connection."""

    def __init__(
        self, wire: Wire, client: asyncio.StreamReader, answer: asyncio.StreamWriter
    ) -> None:
        self._wire = wire
        self._client, self._answer = client, answer
        self._pid = 0
        self._muted = False

    async def run(self, server: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(server)
        ways = [
            asyncio.ensure_future(self._ask(writer)),
            asyncio.ensure_future(self._reply(reader)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()

    async def _ask(self, server: asyncio.StreamWriter) -> None:
        """Pass the client's messages on; return where the wire breaks."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            server.write(await _message(self._client, named=False))
            while True:
                message = await _message(self._client)
                match self._wire.due():
                    case Break.REQUEST_LOST:
                        self._wire.broken.set()
                        return
                    case Break.ANSWER_LOST:
                        self._muted = True
                    case Break.BACKEND_ENDED:
                        self._wire.end_backend(self._pid)
                        self._wire.broken.set()
                server.write(message)
                if self._muted and message.startswith(_FLUSH):
                    self._wire.broken.set()
                    return  # an answer is asked for in the middle, and will not come

    async def _reply(self, server: asyncio.StreamReader) -> None:
        """Pass the server's messages on; where nobody is to hear them, until all was done."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                message = await _message(server)
                if message.startswith(_BACKEND_KEY):
                    [self._pid] = struct.unpack("!i", message[5:9])
                if not self._muted:
                    self._answer.write(message)
                elif message.startswith(_READY):
                    self._wire.broken.set()
                    return


async def _message(reader: asyncio.StreamReader, *, named: bool = True) -> bytes:
    """Return one message of the protocol; the first of a client's has no type byte."""
    head = await reader.readexactly(5 if named else 4)
    [length] = struct.unpack("!i", head[-4:])
    return head + await reader.readexactly(length - 4)
