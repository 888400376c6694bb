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

from agent.local.leash import PR_SET_PDEATHSIG

_PRELOADED = ["agent.local.chaos.worker", "agent.local.chaos.job"]


class Nursery:
    """Where processes are born; `close` ends what still runs."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        self._born: list[ForkServerProcess] = []

    def bear(
        self, name: str, body: Callable[..., None], *arguments: Any, group: int = 0
    ) -> ForkServerProcess:
        """Run `body(*arguments)` in a process of the process group `group` (0: of its own)."""
        log = self._logs / f"{name}.log"
        process = self._context.Process(target=_live, args=(log, group, body, arguments), name=name)
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


def _live(log: Path, group: int, body: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    _end_with_the_nursery()
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
