"""The deployment of room campaigns: all parts real, each a process that can be killed.

Only the paid providers are stand-ins, on the wire; what they heard is the ground truth.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from livekit import api

from agent.local import livekit_server
from agent.local.chaos import stand_ins
from agent.local.chaos.clocks import Clock
from agent.local.chaos.database import Database
from agent.local.chaos.plan import Talk
from agent.local.livekit_server import Credentials, LiveKitServer
from agent.local.loopback import free_port
from agent.local.processes import Child, ChildDiedError, Children
from agent.local.toxiproxy import Proxy
from agent.settings import Pipeline

AGENT = "voice-coach"
GRACE_SECONDS = 8.0
"""For a client to come back; shorter than in life, so that campaigns are."""
LEASE_SECONDS = 5.0
_CALL_SECONDS = 5.0
_STOP_SECONDS = 20.0


@dataclass
class Deployment:
    """What outlives a campaign; its methods block, and are for the main thread."""

    children: Children
    database: Database
    proxy: Proxy
    folder: Path
    binary: Path
    clock: Clock = field(default_factory=Clock)
    """Of the worker's machine; LiveKit, Postgres, providers and clients have the right time."""
    credentials: Credentials = field(
        default_factory=lambda: Credentials("coachchaos", secrets.token_urlsafe(36))
    )
    _port: int = field(default_factory=free_port)
    workers: list[Child] = field(default_factory=list)
    """All that there were: what is left of a dead one's jobs ends with the deployment."""
    _ready: Child | None = None

    def __post_init__(self) -> None:
        self.livekit: LiveKitServer = self._livekit()
        self.providers, self.provider_urls = stand_ins.start(self.children)
        self.worker: Child = self.start_worker()

    def kill_livekit(self) -> None:
        """Kill the LiveKit server."""
        self.livekit.child.process.kill()
        self.children.stop(self.livekit.child, 1)

    def start_livekit(self) -> None:
        """Start it again, where it was."""
        self.livekit = self._livekit()

    def start_worker(self) -> Child:
        """Start a worker, and return without waiting for it."""
        command = [sys.executable, "-m", "agent.cli", "start"]
        name = f"worker-{len(self.workers)}"
        self.worker = self.children.spawn(name, command, self._environment(), folder=self.folder)
        self.workers.append(self.worker)
        return self.worker

    def ready(self) -> bool:
        """Return whether the worker takes jobs; raises ChildDiedError if it has ended."""
        if not self.worker.running():
            raise ChildDiedError(self.worker)
        if self._ready is not self.worker and _registered(self.worker):
            self._ready = self.worker  # later its output may be too long to find it there again
        return self._ready is self.worker

    def jobs(self) -> list[psutil.Process]:
        """Return the processes that hold a journal, those of dead workers too."""
        return [process for process in psutil.process_iter() if self._has_journal(process)]

    def journals(self) -> list[Path]:
        return list((self.folder / "journal").glob("*/*.journal"))

    def call(self, room: str, identity: str, ids: list[int], record: Path) -> Child:
        """Start a client who joins `room` and says `ids`."""
        token = api.AccessToken(self.credentials.key, self.credentials.secret)
        granted = token.with_identity(identity).with_grants(
            api.VideoGrants(room_join=True, room=room)
        )
        command = [sys.executable, "-m", "agent.local.chaos.caller", self.livekit.url]
        command += [granted.to_jwt(), str(record), *map(str, ids)]
        return self.children.spawn(f"caller-{room}", command, dict(os.environ))

    async def make_room(self, room: str, talk: Talk) -> None:
        """Make a room with the agent dispatched to it."""
        pipeline = Pipeline.REALTIME if talk.realtime else Pipeline.STT_LLM_TTS
        dispatch = api.RoomAgentDispatch(
            agent_name=AGENT, metadata=json.dumps({"pipeline": pipeline.value})
        )
        key, secret = self.credentials.key, self.credentials.secret
        async with api.LiveKitAPI(self.livekit.url, key, secret) as livekit:
            await livekit.room.create_room(api.CreateRoomRequest(name=room, agents=[dispatch]))

    def said(self, after: int = 0) -> list[dict[str, Any]]:
        """Return what went over the providers' wire, from the entry `after` on."""
        return list(self._control("GET", f"/control/log?after={after}"))

    def fail(self, fault: dict[str, Any]) -> None:
        """Let a fault happen at the providers."""
        self._control("POST", "/control", json.dumps(fault).encode())

    def heal(self) -> None:
        """Let no more faults happen at the providers."""
        self._control("DELETE", "/control")

    def close(self) -> None:
        """Stop everything."""
        for child in (*self.workers, self.providers):
            self.children.stop(child, _STOP_SECONDS)
        livekit_server.stop(self.children, self.livekit)

    def _control(self, method: str, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 http, as it says
            self.provider_urls["url"] + path,
            body,
            {"Content-Type": "application/json"},
            method=method,
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=_CALL_SECONDS) as response:
            return json.loads(response.read() or b"null")

    def _livekit(self) -> LiveKitServer:
        return livekit_server.start(self.children, self.binary, self.credentials, port=self._port)

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **(self.clock.wrong.environment if self.clock.wrong else {}),
            "LIVEKIT_URL": self.livekit.url,
            "LIVEKIT_API_KEY": self.credentials.key,
            "LIVEKIT_API_SECRET": self.credentials.secret,
            "DATABASE_URL": self.database.url(self.proxy.port),
            "DEEPGRAM_API_KEY": "none",
            "OPENAI_API_KEY": "none",
            "DEEPGRAM_BASE_URL": self.provider_urls["deepgram"],
            "OPENAI_BASE_URL": self.provider_urls["openai"],
            "OPENBLAS_NUM_THREADS": "1",
            "COACH_JOURNAL_DIR": str(self.folder / "journal"),
            "COACH_TURN_DETECTION": "vad",
            "COACH_LOAD_THRESHOLD": "1",
            "COACH_IDLE_PROCESSES": "2",
            "COACH_DRAIN_SECONDS": "0",
            "COACH_LONE_CLIENT_SECONDS": "1",
            "COACH_CLIENT_GRACE_SECONDS": str(GRACE_SECONDS),
            "COACH_LEASE_SECONDS": str(LEASE_SECONDS),
            "COACH_LEASE_RENEWAL_SECONDS": "1",
        }

    def _has_journal(self, process: psutil.Process) -> bool:
        try:
            files = process.open_files()
        except (psutil.Error, OSError):
            return False
        return any(
            file.path.endswith(".journal") and file.path.startswith(str(self.folder))
            for file in files
        )


def _registered(worker: Child) -> bool:
    return any("worker_registered" in line for line in worker.output())
