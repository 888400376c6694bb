"""A disk under the journals that fails when it is told to, and then forgets what it may forget.

Stands in for the system calls by which a journal is written. What was written and not synced may
be lost in a crash; what a failed sync was about is lost for good, even if a later sync succeeds,
unless it is written again: so does Linux.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.ESTALE, errno.EDQUOT)
_WATCHED = (".journal", ".new", ".recovering")


@dataclass(frozen=True)
class Fault:
    """What the next call meets: `taken` bytes of a write go through, then comes `error`, if any."""

    error: int
    taken: int = 0


@dataclass
class FailingDisk:
    """Its `plan` is used up call by call; None is a call that succeeds, as all do after it."""

    plan: deque[Fault | None] = field(default_factory=deque)
    unsynced: set[int] = field(default_factory=set)
    """Offsets (bytes) of what was written and not synced."""
    lost: set[int] = field(default_factory=set)
    """Offsets of what a failed sync was about."""

    @contextmanager
    def under(self, plan: Iterable[Fault | None] = ()) -> Iterator[None]:
        """Be the disk for the block's time."""
        self.plan = deque(plan)
        calls: dict[str, Callable[..., Any]] = {
            "pwrite": self._write,
            "fdatasync": self._sync,
            "fsync": self._sync,
            "ftruncate": self._cut,
            "rename": self._rename,
        }
        met: dict[str, Any] = {name: self._met(name, do) for name, do in calls.items()}
        with mock.patch.multiple(os, **met):
            yield
        self.plan.clear()

    def _met(self, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(file: int | Path, *arguments: Any) -> Any:
            if not _name_of(file).endswith(_WATCHED):
                return real(file, *arguments)
            return do(real, self.plan.popleft() if self.plan else None, file, *arguments)

        return call

    def _write(self, real: Any, fault: Fault | None, fd: int, data: Any, offset: int) -> int:
        if fault is not None and fault.taken == 0:
            raise OSError(fault.error, "the disk fails")
        if fault is not None:  # a short write: an error is met by the next try
            data = data[: fault.taken]
            if fault.error:
                self.plan.appendleft(Fault(fault.error))
        written: int = real(fd, data, offset)
        bytes_there = range(offset, offset + written)
        self.unsynced.update(bytes_there)
        self.lost.difference_update(bytes_there)
        return written

    def _sync(self, _real: Any, fault: Fault | None, _fd: int) -> None:
        """Sync nothing really: what that is worth is told by `after_crash`."""
        unsynced, self.unsynced = self.unsynced, set()
        if fault is not None and fault.error:
            self.lost |= unsynced
            raise OSError(fault.error, "the disk fails")

    def _cut(self, real: Any, fault: Fault | None, fd: int, size: int) -> None:
        if fault is not None and fault.error:
            raise OSError(fault.error, "the disk fails")
        real(fd, size)
        self.unsynced = {offset for offset in self.unsynced if offset < size}
        self.lost = {offset for offset in self.lost if offset < size}

    def _rename(self, real: Any, fault: Fault | None, old: Path, new: Path) -> None:
        if fault is not None and fault.error:
            raise OSError(fault.error, "the disk fails")
        real(old, new)

    def after_crash(self, data: bytes, *, size: int, forgetful: bool) -> bytes:
        """Return what of a file's `data` is there after a crash that kept `size` bytes at most."""
        gone = self.lost | self.unsynced if forgetful else self.lost
        size = max(size, min(self.lost | self.unsynced, default=len(data)))
        return bytes(0 if at in gone else byte for at, byte in enumerate(data[:size]))


def _name_of(file: int | Path) -> str:
    if not isinstance(file, int):
        return Path(file).name
    try:
        return Path(f"/proc/self/fd/{file}").readlink().name
    except OSError:
        return ""
