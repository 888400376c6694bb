"""`coach up` in folders of its own, and what it leaves there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.rows import dict_row

from agent.local import postgres, postgres_programs, running

MARKER = "VOICE_COACH_TEST"
STOP_SECONDS = 60


@dataclass
class Checkout:
    """A folder in which `coach up` runs, and the processes that it may leave."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def begin(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        with self.said.open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "agent.cli", "up", *arguments],
                cwd=self.folder,
                env={**os.environ, MARKER: str(self.folder), **environment},
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        self.started.append(process)
        return process

    def up(self, **environment: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
        """Start `coach up --json`; return it and what it says when it is ready."""
        process = self.begin("--json", **environment)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, self.said.read_text()
        return process, json.loads(line)

    @property
    def said(self) -> Path:
        return self.folder / "said"

    def left(self) -> list[str]:
        """Return every process of this checkout, `coach up` itself too."""
        return [" ".join(p.info["cmdline"] or []) for p in _alive() if self._is_ours(p)]

    def clear(self) -> None:
        """End what still runs, and take away the data that is not in the folder."""
        for process in self.started:
            process.kill()
            process.wait()
        data = postgres.data_dir(self.folder)
        if data.is_relative_to(postgres_programs.ROOTS_HOME):
            shutil.rmtree(data.parent, ignore_errors=True)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.environ().get(MARKER) == str(self.folder):
                return True
            # Postgres is given an environment of its own
            return str(postgres.data_dir(self.folder)) in " ".join(process.cmdline())
        except psutil.Error:
            return False

    def pid(self, name: str) -> int:
        children = json.loads((self.folder / "var/children.json").read_text())
        return int(next(child["pid"] for child in children if child["name"] == name))

    def secrets(self, ready: dict[str, str]) -> list[str]:
        found = running.find(self.folder)
        assert found is not None, "coach up is not ready"
        return [ready["apiKey"], ready["token"], found.livekit_api_secret]

    def transcripts(self, ready: dict[str, str]) -> Any:
        request = urllib.request.Request(ready["apiUrl"] + "api/admin/transcripts")
        request.add_header("X-API-Key", ready["apiKey"])
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def sessions(self) -> list[dict[str, Any]]:
        found = running.find(self.folder)
        assert found is not None, "coach up is not ready"
        with psycopg.connect(found.database_url, row_factory=dict_row) as db:
            return db.execute("SELECT * FROM sessions ORDER BY started_at").fetchall()

    def texts(self, role: str) -> list[str]:
        """Return what one role said in all sessions."""
        found = running.find(self.folder)
        assert found is not None, "coach up is not ready"
        with psycopg.connect(found.database_url) as db:
            spoken = db.execute("SELECT text FROM turns WHERE role = %s ORDER BY seq", [role])
            return [text for (text,) in spoken]

    async def has_none_active(self) -> bool:
        return all(session["status"] != "active" for session in self.sessions())


def _alive() -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE:
            yield process
