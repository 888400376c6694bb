"""Processes whose wall clock is another than the machine's, and may jump.

The machine's own clock is never touched, and the monotonic one of the processes is left as it is:
so it is when a machine's time is put right. libfaketime (0.9.10) does not do for a process full of
audio: it was seen to hold up an event loop for 43 s of which it worked 0.2 s, since it also stands
between threads and the condition variables they wait on. `wrong_clock.c` only reads the clock; it
is compiled on the machine where it is wanted, once, into the user's cache.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

HOW = "`apt-get install gcc libc6-dev`, or what brings a C compiler and glibc's headers elsewhere"
_SOURCE = Path(__file__).with_suffix(".c")
_FLAGS = ("-O2", "-shared", "-fPIC", "-pthread", "-Wl,-z,defs")
"""A libc that lacks one of the functions is found out here, not in a process that calls it."""
_COMPILE_SECONDS = 60.0


class WrongClockError(Exception):
    """No clock can be made wrong here; the message says why, and what to install."""


@dataclass(frozen=True)
class WrongClock:
    """A clock that is off, by what a file says, for whoever has `environment`."""

    library: Path
    file: Path

    @classmethod
    def made(cls, library: Path, file: Path) -> WrongClock:
        """Return a clock that is right until it jumps; `file` is made."""
        file.write_bytes(bytes(8))
        return cls(library, file)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "WRONG_CLOCK": str(self.file)}

    def jump(self, seconds: float) -> None:
        """Be so many seconds ahead of the machine's clock from now on, or behind."""
        nanoseconds = round(seconds * 1e9)
        with self.file.open("r+b") as file:  # in its place: others have it in their memory
            file.write(nanoseconds.to_bytes(8, sys.byteorder, signed=True))


def believe(file: Path) -> None:
    """Let this process, which has the library preloaded, go by the clock that is off by `file`."""
    if ctypes.CDLL(None).wrong_clock(os.fsencode(file)):
        raise WrongClockError(f"{file} cannot be read")


def library() -> Path:
    """Return the library to preload, compiled if it is not yet; raises WrongClockError."""
    if sys.platform != "linux":
        raise WrongClockError("only on Linux can a clock be made wrong")
    path = _cached()
    if not path.exists():
        _compile(path)
    return path


def _cached() -> Path:
    made_of = [_SOURCE.read_text(encoding="utf-8"), platform.machine(), *platform.libc_ver()]
    name = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:16]
    cache = platformdirs.user_cache_path("voice-coach", appauthor=False)
    return cache / "wrong-clock" / name / "wrong_clock.so"


def _compile(path: Path) -> None:
    """Compile beside `path` and move it there in one step: others may do the same."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise WrongClockError(f"no C compiler (cc) on PATH: {HOW}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".build-") as work:
            fresh = Path(work) / path.name
            command = [compiler, *_FLAGS, str(_SOURCE), "-o", str(fresh), "-ldl"]
            subprocess.run(  # noqa: S603 - the user's own compiler
                command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=True
            )
            fresh.replace(path)
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["it said nothing"]
        raise WrongClockError(f"{compiler} failed ({said[0]}): {HOW}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WrongClockError(f"{path} could not be compiled: {error}") from None
