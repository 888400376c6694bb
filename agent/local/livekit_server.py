"""A real LiveKit server for one machine, on free ports of the loopback interface.

`PROGRAM` names the newest version that installs from the module proxy; later ones carry `replace`
lines, which the module proxy's install refuses.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from livekit import api

from agent.local import loopback, processes, state
from agent.local.go_programs import GoProgram, GoProgramError
from agent.local.loopback import HOST, free_port
from agent.local.processes import Child, ChildDiedError, Children, Pause

START_DEADLINE = 20.0
START_ATTEMPTS = 3
STOP_DEADLINE = 3.0
OK, UNAUTHORIZED = 200, 401
ADDRESS_IN_USE = "address already in use"
LIST_ROOMS = "/twirp/livekit.RoomService/ListRooms"


class LiveKitServerError(GoProgramError):
    """There is no LiveKit server here and none can be built."""


PROGRAM = GoProgram(
    "LiveKit server",
    "livekit-server",
    "github.com/livekit/livekit-server/cmd/server",
    "v1.11.0",
    go_needed=(1, 25),
    otherwise="set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET to use a server of your own",
    error=LiveKitServerError,
)
find = PROGRAM.find
find_or_build = PROGRAM.find_or_build
builder = PROGRAM.builder
VERSION = PROGRAM.version


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


def credentials(folder: Path) -> Credentials:
    """Return this installation's key and secret, kept in the state folder `folder`."""
    file = folder / "livekit-key.json"
    if not file.exists():
        made = {"key": f"coach{secrets.token_hex(6)}", "secret": secrets.token_urlsafe(36)}
        state.write_private(file, json.dumps(made))
    return Credentials(**json.loads(file.read_text(encoding="utf-8")))


def start(  # noqa: PLR0913 what a test or a user may choose of a server
    children: Children,
    binary: Path,
    credentials: Credentials,
    *,
    log_level: str = "warn",
    port: int | None = None,
    pause: Pause = processes.pause,
) -> LiveKitServer:
    """Start `binary` on the loopback interface and wait until it answers.

    From `log_level` info on its log names rooms and participants. `port` is where it answers, a
    free one if there is none given. Raises ChildDiedError.
    """
    for _ in range(START_ATTEMPTS - 1):
        with contextlib.suppress(_PortTakenError):
            return _start(children, binary, credentials, log_level, port, pause)
    return _start(children, binary, credentials, log_level, port, pause)


def stop(children: Children, server: LiveKitServer, pause: Pause = processes.pause) -> None:
    """Stop `server`, whoever is still in its rooms: they are sent away."""

    def insist() -> None:
        server.child.process.terminate()  # asked once, it waits until everybody has left
        pause()

    children.stop(server.child, STOP_DEADLINE, insist)


class _PortTakenError(ChildDiedError):
    """Someone took a port between its choice and its use."""


def _start(  # noqa: PLR0913, PLR0917 as above
    children: Children,
    binary: Path,
    credentials: Credentials,
    log_level: str,
    port: int | None,
    pause: Pause,
) -> LiveKitServer:
    port = port or free_port()
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
