"""Processes whose wall clock is another than the machine's, and may jump.

The machine's own clock is never touched, and the monotonic one of the processes is left as it is:
so it is when a machine's time is put right. libfaketime (0.9.10) does not do for a process full of
audio: it was seen to hold up an event loop for 43 s of which it worked 0.2 s, since it also stands
between threads and the condition variables they wait on. `wrong_clock.c` only reads the clock.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from missing import give_up

_SOURCE = Path(__file__).with_name("wrong_clock.c")


@dataclass(frozen=True)
class WrongClock:
    """A clock that is off, by what a file says, for whoever has `environment`."""

    library: Path
    file: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "WRONG_CLOCK": str(self.file)}

    def jump(self, seconds: float) -> None:
        """Be so many seconds ahead of the machine's clock from now on, or behind."""
        nanoseconds = round(seconds * 1e9)
        with self.file.open("r+b") as file:  # in its place: others have it in their memory
            file.write(nanoseconds.to_bytes(8, sys.byteorder, signed=True))


@pytest.fixture
def wrong_clock(tmp_path: Path) -> WrongClock:
    """A clock that is right until it jumps."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        give_up("no C compiler on this machine, or no Linux, to make a wrong clock with")
    library, file = tmp_path / "wrong_clock.so", tmp_path / "clock"
    command = [compiler, "-O2", "-shared", "-fPIC", str(_SOURCE), "-o", str(library)]
    subprocess.run(command, check=True)
    file.write_bytes(bytes(8))
    return WrongClock(library, file)
