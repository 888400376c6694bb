"""Children that are looked after: none outlives its parent for good, none dies unheard.

Each child leads a session of its own, so that a Ctrl-C in the terminal reaches the parent alone and
so that whatever the child starts can be ended with it. On Linux a child is killed when its parent
dies (`leash`). What that does not reach (a child's own children, other systems) is found by the
next start: the state file holds the pid and the creation time of every child.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from agent.local import leash, state

PAUSE = 0.05
"""Seconds between two looks at something that is waited for."""
CLOCK_SLACK = 1.0
"""Seconds by which two readings of one process's creation time may differ."""
KILL_DEADLINE = 5.0
"""Seconds until a killed session of processes is gone; only a stuck disk takes longer."""
TAIL_BYTES = 64 * 1024

Pause = Callable[[], None]
"""Waits a moment; may raise to end the wait."""


class ChildDiedError(Exception):
    """A child ended when it should run."""

    def __init__(self, child: Child, *, why: str | None = None) -> None:
        why = why or f"ended with {_status(child.process.returncode)}"
        lines = child.tail() or ["(it said nothing)"]
        shown = "\n".join(f"  | {line}" for line in lines)
        super().__init__(f"{child.name} {why}. The end of {child.log}:\n{shown}")


@dataclass(frozen=True)
class Child:
    """A running program, and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    created: float
    """Seconds since the epoch, as the operating system has it."""
    log_start: int = 0
    """The byte of its log at which its own output begins; before it is that of earlier ones."""

    def running(self) -> bool:
        return self.process.poll() is None

    def output(self) -> list[str]:
        """Return the last lines of its output, at most 64 KiB of them."""
        with self.log.open("rb") as file:
            file.seek(max(self.log_start, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()

    def tail(self, lines: int = 12) -> list[str]:
        """Return its last `lines` lines of output that are not empty."""
        return [line for line in self.output() if line.strip()][-lines:]


def pause() -> None:
    """Wait a moment."""
    time.sleep(PAUSE)


class Children:
    """The children of this process, in a state folder that this process owns."""

    def __init__(self, folder: Path) -> None:
        self._state_file = folder / "children.json"
        self._logs = folder / "logs"
        self._logs.mkdir(mode=0o700, exist_ok=True)
        self._running: list[Child] = []
        self._begun: set[str] = set()

    def spawn(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        folder: Path | None = None,
    ) -> Child:
        """Start `command` as `name`; its log begins anew with this parent, not with a restart."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a child dies with the thread that starts it: use the main thread")
        log = self._logs / f"{name}.log"
        leashed = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command]
        with state.open_private(log, "ab") as output:
            if name not in self._begun:
                output.truncate(0)
                self._begun.add(name)
            log_start = output.seek(0, os.SEEK_END)
            process = subprocess.Popen(  # noqa: S603 - commands are this program's own
                leashed,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
            )
        child = Child(name, process, log, psutil.Process(process.pid).create_time(), log_start)
        self._running.append(child)
        self._save()
        return child

    def stop(self, child: Child, deadline: float, pause: Pause = pause) -> bool:
        """Ask `child` to end, kill whatever is left of it after `deadline` seconds.

        Returns whether it ended in time; one that was stopped before is left alone: its number may
        be another process's by now. `pause` may raise to make it short: what is left
        is then killed at once, and the exception passed on.
        """
        if child not in self._running:
            return True
        orderly = False
        try:
            if child.running():
                child.process.terminate()
            orderly = _until(lambda: not child.running(), deadline, pause)
        finally:
            _kill_session(child.process.pid)
            child.process.wait()
            self._running.remove(child)
            self._save()
        return orderly

    def end_orphans(self) -> list[str]:
        """Kill what an earlier parent left running; return the names of those children."""
        try:
            left = json.loads(self._state_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return []
        found = [
            entry["name"]
            for entry in left
            if not _is_another(entry["pid"], entry["created"]) and _kill_session(entry["pid"])
        ]
        self._save()
        return found

    def _save(self) -> None:
        entries = [
            {"name": child.name, "pid": child.process.pid, "created": child.created}
            for child in self._running
        ]
        state.write_private(self._state_file, json.dumps(entries))


def wait_until(
    ready: Callable[[], bool], child: Child, deadline: float, pause: Pause = pause
) -> None:
    """Return once `ready()`; raises ChildDiedError if `child` ends, or is not ready in time.

    `deadline` in seconds.
    """
    if not _until(lambda: ready() or not child.running(), deadline, pause):
        raise ChildDiedError(child, why=f"was not ready after {deadline:.0f} s")
    if not child.running():
        raise ChildDiedError(child)


def finish(child: Child, deadline: float, pause: Pause = pause) -> None:
    """Return when `child` has ended well; raises ChildDiedError if it fails or takes too long.

    `deadline` in seconds.
    """
    if not _until(lambda: not child.running(), deadline, pause):
        raise ChildDiedError(child, why=f"took more than {deadline:.0f} s")
    if child.process.returncode != 0:
        raise ChildDiedError(child)


def _until(condition: Callable[[], bool], deadline: float, pause: Pause) -> bool:
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            return False
        pause()
    return True


def _is_another(pid: int, created: float) -> bool:
    """Return whether `pid` has been given to another process since.

    No pid is given away while a session that it leads lives: then nothing of the session is left.
    """
    try:
        return bool(abs(psutil.Process(pid).create_time() - created) > CLOCK_SLACK)
    except psutil.NoSuchProcess:
        return False


def _kill_session(leader: int) -> bool:
    """Kill every process of the session that `leader` leads; return whether there was any."""
    found = False
    end = time.monotonic() + KILL_DEADLINE
    while (members := _session_members(leader)) and time.monotonic() < end:
        found = True
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        time.sleep(PAUSE)  # psutil's own wait would take a child's status from its `Popen`
    return found


def _session_members(leader: int) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _session(process) == leader]


def _session(process: psutil.Process) -> int | None:
    """Return the session of `process`, None if it has ended; a zombie has."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return os.getsid(process.pid)
    except (psutil.Error, OSError):
        return None


def _status(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"status {code}"
