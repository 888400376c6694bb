"""Disks that are full, or read-only, when a test wants it; `conftest.py` brings the fixtures.

A file system in memory, mounted where only one process sees it: an ordinary user may do that too
(in a user namespace of their own), and nothing is left when that process has ended, however the
test did. Others reach it by that process's root folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from missing import give_up

_KEEPER = """
mount -t tmpfs -o "$2" none "$1" && echo mounted || exit
# named in full: mount(8) would else repeat owners that an ordinary user may not give
while read -r how; do mount -t tmpfs -o "remount,$how" none "$1" && echo remounted; done
"""
_OPTIONS = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]


class SmallDisk:
    """A file system that is kept by a process; `path` is its root."""

    def __init__(self, place: Path, keeper: subprocess.Popen[str]) -> None:
        self._keeper = keeper
        self.place = place
        """Where it is mounted, for those who are in its namespace (`inside`)."""
        self.path = Path(f"/proc/{keeper.pid}/root{place}")

    def remount(self, how: str) -> None:
        """Mount it anew: `ro`, `rw`, `size=64k`, `nr_inodes=10`."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(f"{how}\n")
        self._keeper.stdin.flush()
        assert _said(self._keeper) == "remounted"

    def fill(self) -> Path:
        """Leave not one free page; return the file that takes them."""
        filler = self.path / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0" * 512):
                pass
        return filler

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs `command` where the disk is at its `place`."""
        user = ["--user", "--preserve-credentials"] if "--user" in _OPTIONS else []
        return ["nsenter", "--target", str(self._keeper.pid), "--mount", *user, "--", *command]


@contextmanager
def mounted(place: Path, options: str) -> Iterator[SmallDisk]:
    """Mount a disk at `place` for the block's time."""
    if shutil.which("unshare") is None:
        give_up("no unshare(1) on this machine, which is of util-linux, on Linux alone")
    place.mkdir()
    with subprocess.Popen(
        ["unshare", *_OPTIONS, "sh", "-c", _KEEPER, "sh", str(place), options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as keeper:
        try:
            said = _said(keeper)
            if said != "mounted":
                give_up(f"no file system may be mounted here: {said}")
            yield SmallDisk(place, keeper)
        finally:
            keeper.kill()


def _said(keeper: subprocess.Popen[str]) -> str:
    assert keeper.stdout is not None
    return keeper.stdout.readline().strip()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system of 64 KiB."""
    with mounted(tmp_path / "disk", "size=64k,mode=0700") as disk:
        yield disk


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], SmallDisk]]:
    """Mounts further disks, with the options of tmpfs."""
    with contextlib.ExitStack() as disks:

        def one_more(options: str) -> SmallDisk:
            return disks.enter_context(mounted(tmp_path / f"disk-{options}", options))

        yield one_more
