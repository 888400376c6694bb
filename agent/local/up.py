"""`coach up`: everything for one machine, from nothing.

What the settings name is used, what they lack is brought along: Postgres, a LiveKit server, a
stand-in for the providers. One Ctrl-C stops it in order, a second one hurries; a `kill -9` leaves
nothing that the next start does not find.
"""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from agent import logs
from agent.local import access, running, state
from agent.local.interrupts import Interrupts, StopAskedError
from agent.local.livekit_server import LiveKitServerError
from agent.local.machine import Machine, PartLostError, PortTakenError
from agent.local.postgres import PostgresError
from agent.local.processes import ChildDiedError
from agent.local.running import Running
from agent.local.screen import Screen
from agent.settings import Need, Settings, load
from persistence.errors import PersistenceError

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 128 + signal.SIGINT

FAILURES = (ChildDiedError, LiveKitServerError, PartLostError, PersistenceError, PostgresError)


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    port: int | None = None
    """The API's; None for the usual one."""
    as_json: bool = False
    """Whether one line of JSON on standard output says that everything is ready."""


def run(wanted: Wanted) -> int:
    """Run everything in the current folder until a signal ends it; return the exit code.

    Raises SettingsError.
    """
    screen, interrupts = Screen(), Interrupts()
    interrupts.install()
    settings = _settings()
    # what a person should know is on the screen; the parts' logs are in their files
    logs.configure(settings.model_copy(update={"log_level": "WARNING", "log_format": "console"}))
    folder = state.prepare(Path.cwd())
    try:
        with state.own(folder):
            return _run(Machine(settings, folder, screen, interrupts), folder, wanted)
    except (state.AlreadyRunningError, PortTakenError) as error:
        screen.failed(str(error))
        return REFUSED


def _settings() -> Settings:
    settings = load()
    return settings if settings.livekit_url is None else load(Need.LIVEKIT)


def _run(machine: Machine, folder: Path, wanted: Wanted) -> int:
    code = INTERRUPTED
    try:
        ready = _start(machine, folder, wanted.port)
        running.save(folder, ready)
        _show(ready, machine.screen, as_json=wanted.as_json)
        code = DONE
        while True:
            machine.look_after()
            machine.interrupts.pause()
    except StopAskedError:
        machine.screen.note("stopping", "sessions end first; Ctrl-C again to hurry")
    except FAILURES as error:
        machine.screen.failed(str(error))
        code = FAILED
    finally:
        running.forget(folder)
        shipped = machine.stop()
    return code if shipped else FAILED


def _start(machine: Machine, folder: Path, asked_port: int | None) -> Running:
    machine.end_orphans()
    port = machine.api_port(asked_port)
    machine.begin_page()
    machine.begin_providers()
    machine.start_postgres()
    machine.start_livekit()
    machine.await_providers()
    api_url = machine.start_api_and_worker(port)
    machine.await_page()
    credentials, room = machine.livekit_credentials, access.room_name()
    api_key = access.api_key(folder, machine.database_url)
    return Running(
        api_url=api_url,
        api_key=api_key,
        livekit_url=machine.livekit_url,
        livekit_api_key=credentials.key,
        livekit_api_secret=credentials.secret,
        database_url=machine.database_url,
        room=room,
        token=access.client_token(credentials, room, machine.settings),
        join_url=_join_url(api_url, room, api_key),
    )


def _join_url(api_url: str, room: str, api_key: str) -> str:
    """Return the link that signs a browser in; its key is in the fragment, which is never sent."""
    return f"{api_url}?{urlencode({'room': room, 'role': 'client'})}#{urlencode({'key': api_key})}"


def _show(ready: Running, screen: Screen, *, as_json: bool) -> None:
    """Say what the user needs to join, on standard output, and nowhere else."""
    shown = {
        "apiUrl": ready.api_url,
        "apiKey": ready.api_key,
        "livekitUrl": ready.livekit_url,
        "room": ready.room,
        "token": ready.token,
        "joinUrl": ready.join_url,
    }
    if as_json:
        screen.result(json.dumps(shown))
        return
    screen.result(f"\nready. Talk, and read: {ready.join_url}\n")
    for name in ("apiUrl", "apiKey", "livekitUrl", "room", "token"):
        screen.result(f"  {name:<10}  {shown[name]}")
    screen.result(
        "\nThe link signs a browser in. Other LiveKit clients join by livekitUrl and token; or let "
        "a\nrehearsal talk: coach rehearse. Ctrl-C stops everything."
    )
