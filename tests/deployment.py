"""A whole deployment on this machine: LiveKit server, Postgres, job processes, audio. All real.

Only the paid providers are stand-ins, on the wire, with the scripted brain: which utterance it
hears is decoded from the audio that reached it, and its own log is the ground truth.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from livekit import api
from psycopg.rows import dict_row

from agent.local.client import SAMPLE_RATE, RoomClient
from agent.local.livekit_server import LiveKitServer
from agent.local.processes import Child, Children, wait_until
from agent.local.providers import tones

AGENT = "voice-coach"
WITHIN = 45.0
"""Seconds in which anything has to have come about; a machine may be busy."""
Row = dict[str, Any]
T = TypeVar("T")


@dataclass
class Providers:
    """The stand-in's process: where it is, what it heard, and what shall go wrong in it."""

    child: Child
    url: str
    deepgram: str
    openai: str

    def log(self) -> list[dict[str, Any]]:
        return list(json.loads(self._call("GET", "/control/log")))

    def fault(self, **fault: Any) -> None:
        self._call("POST", "/control", json.dumps(fault).encode())

    def clear(self) -> None:
        self._call("DELETE", "/control")

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=5) as response:
            return bytes(response.read())


@dataclass
class Deployment:
    """What one test file runs against; workers are started by name."""

    livekit: LiveKitServer
    providers: Providers
    database_url: str
    folder: Path
    children: Children
    workers: list[Child] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of one of our own processes."""
        return {
            **os.environ,
            "LIVEKIT_URL": self.livekit.url,
            "LIVEKIT_API_KEY": self.livekit.credentials.key,
            "LIVEKIT_API_SECRET": self.livekit.credentials.secret,
            "DATABASE_URL": self.database_url,
            "DEEPGRAM_API_KEY": "none",
            "OPENAI_API_KEY": "none",
            "DEEPGRAM_BASE_URL": self.providers.deepgram,
            "OPENAI_BASE_URL": self.providers.openai,
            "COACH_JOURNAL_DIR": str(self.folder / "journal"),
            "COACH_TURN_DETECTION": "vad",
            "COACH_LOAD_THRESHOLD": "1",
            "COACH_IDLE_PROCESSES": "1",
            "COACH_DRAIN_SECONDS": "0",
            **more,
        }

    def start_worker(self, name: str = "worker", **environment: str) -> Child:
        """Start a worker and return once LiveKit has it."""
        command = [sys.executable, "-m", "agent.cli", "start"]
        child = self.children.spawn(name, command, self.environment(**environment))
        self.workers.append(child)
        wait_until(lambda: "worker_registered" in "\n".join(child.output()), child, 60)
        return child

    def stop_worker(self, worker: Child, deadline: float = 30) -> int:
        """Ask a worker to stop; return its exit code."""
        self.children.stop(worker, deadline)
        self.workers.remove(worker)
        return worker.process.returncode

    async def make_room(
        self, name: str, metadata: str = "", room_metadata: str = "", agent: str = AGENT
    ) -> None:
        """Make a room with the agent dispatched to it."""
        dispatch = api.RoomAgentDispatch(agent_name=agent, metadata=metadata)
        request = api.CreateRoomRequest(name=name, agents=[dispatch], metadata=room_metadata)
        async with self.livekit_api() as livekit:
            await livekit.room.create_room(request)

    @asynccontextmanager
    async def livekit_api(self) -> AsyncIterator[api.LiveKitAPI]:
        credentials = self.livekit.credentials
        livekit = api.LiveKitAPI(self.livekit.url, credentials.key, credentials.secret)
        try:
            yield livekit
        finally:
            await livekit.aclose()

    def token(self, room: str, identity: str, attributes: Mapping[str, str] | None = None) -> str:
        credentials = self.livekit.credentials
        token = api.AccessToken(credentials.key, credentials.secret).with_identity(identity)
        token = token.with_attributes(dict(attributes or {}))
        return token.with_grants(api.VideoGrants(room_join=True, room=room)).to_jwt()

    async def client(
        self, room: str, identity: str = "client-7", attributes: Mapping[str, str] | None = None
    ) -> RoomClient:
        """Join a room as a participant."""
        return await RoomClient().join(self.livekit.url, self.token(room, identity, attributes))

    def vanishing_client(self, room: str, identity: str = "client-7") -> subprocess.Popen[bytes]:
        """Start a silent client as a process of its own, to be killed without a goodbye."""
        script = (
            "import asyncio, sys\n"
            "from agent.local.client import RoomClient\n"
            "async def stay():\n"
            "    await RoomClient().join(sys.argv[1], sys.argv[2])\n"
            "    await asyncio.Event().wait()\n"
            "asyncio.run(stay())\n"
        )
        command = [sys.executable, "-c", script, self.livekit.url, self.token(room, identity)]
        return subprocess.Popen(command)

    async def query(self, statement: str, *parameters: Any) -> list[Row]:
        async with await psycopg.AsyncConnection.connect(
            self.database_url, autocommit=True, row_factory=dict_row
        ) as db:
            return await (await db.execute(statement.encode(), parameters)).fetchall()

    async def session(self, room: str) -> Row | None:
        rows = await self.query("SELECT * FROM sessions WHERE room_name = %s", room)
        assert len(rows) <= 1, "one room, one conversation, one session"
        return rows[0] if rows else None

    async def ended_session(self, room: str, within: float = WITHIN) -> Row:
        """Return the session of a room once Postgres has its end."""

        async def ended() -> Row | None:
            session = await self.session(room)
            return session if session and session["ended_at"] else None

        return await eventually(ended, within)

    async def turns(self, room: str) -> list[Row]:
        return await self.query(
            "SELECT t.* FROM turns t JOIN sessions s ON s.id = t.session_id "
            "WHERE s.room_name = %s ORDER BY t.started_at, t.seq",
            room,
        )


async def eventually(look: Callable[[], Awaitable[T | None]], within: float = WITHIN) -> T:
    """Look every 50 ms until there is something; raises TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not (found := await look()):  # noqa: ASYNC110 the database has no event for it
            await asyncio.sleep(0.05)
        return found


async def greeted(client: RoomClient) -> None:
    """Wait until the coach has greeted and listens."""
    await client.until(lambda c: c.agent_captions() and c.agent_state() == "listening")


async def say(client: RoomClient, *ids: int) -> float:
    """Speak utterances; return when the last word was out."""
    spoken = time.monotonic()
    for id_ in ids:
        spoken = await client.speak(tones.encode(id_, sample_rate=SAMPLE_RATE))
    return spoken


async def converse(client: RoomClient, *ids: int) -> None:
    """Speak utterances one by one, each answered to its end."""
    for id_ in ids:
        answers = len(client.agent_captions())
        await say(client, id_)
        await client.until(partial(answered, more_than=answers))


def answered(client: RoomClient, more_than: int) -> bool:
    return len(client.agent_captions()) > more_than and client.agent_state() == "listening"
