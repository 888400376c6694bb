"""Processes for campaigns, born quickly: forked from one that has loaded everything.

They are what a deployment's are, each with a memory, a lock and a life of its own; only their birth
takes 10 ms instead of a second, so that a thousand of them can be killed in some minutes. All of
them die with the one that they are forked from, which ends with this process.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from agent.local import wrong_clock
from agent.local.leash import PR_SET_PDEATHSIG

_PRELOADED = ["agent.local.chaos.worker", "agent.local.chaos.job"]
_PRELOAD = "LD_PRELOAD"
_opened_with: list[Path | None] = []
"""With which clocks the process runs that all are forked from: this process has one of them."""


class Nursery:
    """Where processes are born; `close` ends what still runs.

    Their clocks can be wrong if it is given `clocks`, the library that makes them so.
    """

    def __init__(self, logs: Path, clocks: Path | None = None) -> None:
        self._logs = logs
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        self._born: list[ForkServerProcess] = []
        _open(clocks)

    def bear(
        self,
        name: str,
        body: Callable[..., None],
        *arguments: Any,
        group: int = 0,
        clock: Path | None = None,
    ) -> ForkServerProcess:
        """Run `body(*arguments)` in a process of the process group `group` (0: of its own).

        `clock` is the file by which its clock is off; it is right if that is None.
        """
        given = (self._logs / f"{name}.log", group, clock, body, arguments)
        process = self._context.Process(target=_live, args=given, name=name)
        with _apart_from_main():
            process.start()
        self._born.append(process)
        return process

    def close(self) -> None:
        """Kill and bury everything that was born here."""
        for process in self._born:
            process.kill()
        for process in self._born:
            process.join()
            process.close()
        self._born.clear()


def _open(clocks: Path | None) -> None:
    """Start the process that others are forked from: with `clocks` preloaded, so all have it."""
    served = forkserver._forkserver  # noqa: SLF001
    if _opened_with != [clocks]:
        # one that is there already, without them or with others
        served._stop()  # type: ignore[attr-defined]  # noqa: SLF001
        _opened_with[:] = [clocks]
    before = os.environ.get(_PRELOAD)
    if clocks is not None:
        os.environ[_PRELOAD] = str(clocks)
    try:
        with _apart_from_main():
            served.ensure_running()
    finally:
        os.environ.pop(_PRELOAD, None)
        if before is not None:
            os.environ[_PRELOAD] = before


def _live(
    log: Path,
    group: int,
    clock: Path | None,
    body: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    _end_with_the_nursery()
    if clock is not None:
        wrong_clock.believe(clock)
    try:
        os.setpgid(0, group)
    except PermissionError:  # its group is gone: it was killed as a whole
        os.setpgid(0, 0)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    body(*arguments)


def _end_with_the_nursery() -> None:
    """Die with the process that this one is forked from, also when stopped.

    That one lives as long as anybody holds the end of a pipe that its children are given, too.
    """
    os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]  # noqa: SLF001
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


@contextlib.contextmanager
def _apart_from_main() -> Iterator[None]:
    """Keep the new process from importing this one's main module, which is the command line."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
