"""Requests a second of the API's routes, each beside a bare route that returns as many bytes.

Both are single processes that take turns on the same cores, asked over connections that stay open.
The bare route looks no key up, asks no database, writes no log line and gives no header of its own.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import many_sessions
import psycopg
from api_process import admin_key, served
from results import Bench, Result, Row
from stand import database as bench_database
from stand import running

from agent.local.processes import Children

CONNECTIONS = 8
SECONDS = 3.0
ROUNDS = 5
SESSIONS = 2_000
"""Of a database of its own, where none is given: what a route does hardly depends on them."""
BARE = Path(__file__).with_name("bare_api.py")
_LONG = "SELECT id FROM sessions WHERE turn_count = 60 AND status = 'completed' LIMIT 1"


@dataclass(frozen=True)
class Asked:
    port: int
    path: str
    key: str

    @property
    def request(self) -> bytes:
        lines = [f"GET {self.path} HTTP/1.1", "Host: 127.0.0.1", f"X-API-Key: {self.key}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read an answer; return the size of its body in bytes."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head[:100]
    _, _, after = head.lower().partition(b"content-length: ")
    size = int(after.partition(b"\r\n")[0])
    await reader.readexactly(size)
    return size


async def _ask(asked: Asked, until: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port, limit=2**22)
    request, answered = asked.request, 0
    while time.perf_counter() < until:
        writer.write(request)
        await _answer(reader)
        answered += 1
    writer.close()
    await writer.wait_closed()
    return answered


async def rate(asked: Asked, seconds: float) -> float:
    """Return how many requests a second are answered."""
    began = time.perf_counter()
    counts = [_ask(asked, began + seconds) for _ in range(CONNECTIONS)]
    answered = sum(await asyncio.gather(*counts))
    return answered / (time.perf_counter() - began)


async def _size(asked: Asked) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port, limit=2**22)
    writer.write(asked.request)
    size = await _answer(reader)
    writer.close()
    return size


def _bare(children: Children, name: str, size: int, stack: ExitStack) -> Asked:
    command = [sys.executable, str(BARE), str(size)]
    child = stack.enter_context(running(children, name, command, "bare_listening"))
    said = next(line for line in child.output() if "bare_listening" in line)
    return Asked(int(said.split()[1]), "/", "none")


@contextmanager
def filled(bench: Bench, sessions: int) -> Iterator[str]:
    """Yield the URL of the database that was given, else of a new one with `sessions`."""
    if bench.database:
        yield bench.database
        return
    with bench_database(bench.folder) as url:
        many_sessions.fill(url, sessions, bench.report)
        yield url


def measure(bench: Bench) -> Result:
    """Return how many requests a second the list and a transcript are answered."""
    children, seconds = Children(bench.folder), 0.3 if bench.quick else SECONDS
    with filled(bench, bench.size(SESSIONS, 200)) as url, served(children, url) as port:
        key = asyncio.run(admin_key(url))
        with psycopg.connect(url) as db:
            row = db.execute(_LONG).fetchone()
        path = "/api/admin/transcripts"
        assert row is not None
        routes = {
            "a page of 50 sessions": Asked(port, path, key),
            "a transcript of 60 turns": Asked(port, f"{path}/{row[0]}", key),
            "/livez": Asked(port, "/livez", key),
        }
        rows, data = [], {}
        for what, asked in routes.items():
            bench.report(what)
            with ExitStack() as stack:
                size = asyncio.run(_size(asked))
                bare = _bare(children, f"bare {what.partition(' ')[0].strip('/')}", size, stack)
                ours, theirs = _by_turns(asked, bare, seconds)
            data[what] = {"bytes": size, "perSecond": ours, "barePerSecond": theirs}
            share = f"{ours:.0f} and {theirs:.0f}: {ours / theirs:.2f}x"
            rows.append(Row(f"{what} ({size} bytes), and a constant, requests a second", share))
    return Result(rows, data)


def _by_turns(ours: Asked, bare: Asked, seconds: float) -> tuple[float, float]:
    """Return the median rates of both, asked by turns."""
    rates: dict[int, list[float]] = {ours.port: [], bare.port: []}
    for asked in [ours, bare] * ROUNDS:
        rates[asked.port].append(asyncio.run(rate(asked, seconds)))
    return median(rates[ours.port]), median(rates[bare.port])
