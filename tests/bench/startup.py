"""How long `coach up` takes until everything is ready: from nothing, and warm.

From nothing: a new folder, no built LiveKit server, no cache of Go or of uv; the server's build,
which happens once a machine, is reported apart. Warm: the same folder again, after a stop.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results import Bench, Result, Row
from samples import percentile

from agent.local import livekit_server, postgres

READY_SECONDS = 1800.0
STOP_SECONDS = 120.0
COMMAND = (sys.executable, "-m", "agent.cli", "up", "--port", "0", "--json")
BUILDING = "building"


@dataclass
class Start:
    """One `coach up`: when each of its parts was there, in seconds from the start."""

    ready: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    build: float = 0.0
    """How much of it was the building of a LiveKit server."""
    stop: float = 0.0
    """How long the stop took."""
    lines: list[str] = field(default_factory=list)


def measure(bench: Bench) -> Result:
    """Return the figures of one start from nothing (not in a quick run) and some warm ones."""
    return asyncio.run(_measure(bench))


async def _measure(bench: Bench) -> Result:
    checkout = bench.folder / "checkout"
    checkout.mkdir()
    try:
        first = await _up(checkout, bench, {} if bench.quick else _empty_caches(bench.folder))
        bench.report(f"first start: ready after {first.ready:.1f} s")
        warm = [await _up(checkout, bench, {}) for _ in range(bench.size(3, 1))]
    finally:
        shutil.rmtree(postgres.data_dir(checkout).parent, ignore_errors=True)
    return _result(first, warm, "from nothing" if first.build else "in a new folder")


def _result(first: Start, warm: list[Start], where: str) -> Result:
    middle = percentile([start.ready for start in warm], 0.5)
    rows = [
        Row(f"`coach up` {where}, without a build", f"{first.ready - first.build:.1f} s"),
        Row(f"`coach up` warm (median of {len(warm)})", f"{middle:.1f} s"),
        Row("until it has stopped", f"{percentile([s.stop for s in warm], 0.5):.1f} s"),
    ]
    if first.build:
        built = f"{first.build:.1f} s"
        rows.insert(1, Row(f"LiveKit server {livekit_server.VERSION} built, once", built))
    return Result(
        rows, {"first": _data(first), "firstIs": where, "warm": [_data(start) for start in warm]}
    )


def _data(start: Start) -> dict[str, Any]:
    return {
        "readySeconds": start.ready,
        "ofItBuildSeconds": start.build,
        "partsSeconds": start.parts,
        "stopSeconds": start.stop,
    }


def _empty_caches(folder: Path) -> dict[str, str]:
    """Return the environment of a machine on which nothing was ever built; needs the network."""
    cache = folder / "cache"
    return {
        "XDG_CACHE_HOME": str(cache),
        "UV_CACHE_DIR": str(cache / "uv"),
        "GOCACHE": str(cache / "go-build"),
        "GOPATH": str(cache / "go"),
        "GOFLAGS": "-modcacherw",
        "PATH": _path_without_livekit(),
    }


def _path_without_livekit() -> str:
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(p for p in folders if not Path(p, "livekit-server").exists())


async def _up(checkout: Path, bench: Bench, environment: dict[str, str]) -> Start:
    """Start everything, stop it again; raises RuntimeError if it does not get ready."""
    start, began = Start(), time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        cwd=checkout,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    assert process.stderr
    following = asyncio.create_task(_follow(process.stderr, start, began, bench))
    try:
        async with asyncio.timeout(READY_SECONDS):
            said = await process.stdout.readline()
        start.ready = time.monotonic() - began
    finally:
        start.stop = await _stop(process)
        await following
    if not said.startswith(b"{"):
        raise RuntimeError("coach up did not get ready:\n" + "".join(start.lines))
    return start


async def _stop(process: asyncio.subprocess.Process) -> float:
    """Press Ctrl-C; return after how many seconds it had stopped."""
    began = time.monotonic()
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        raise
    return time.monotonic() - began


async def _follow(output: asyncio.StreamReader, start: Start, began: float, bench: Bench) -> None:
    """Note when `coach up` says that a part is there."""
    building_since = None
    async for line in output:
        now = time.monotonic() - began
        text = line.decode(errors="replace")
        start.lines.append(text)
        bench.report(text.strip())
        part, _, what = text.strip().partition(" ")
        if start.ready or not what:
            continue
        start.parts[part] = now
        if what.strip().startswith(BUILDING):
            building_since = now
        elif building_since is not None:
            start.build, building_since = now - building_since, None
