"""Processes whose wall clock is another than the machine's, and may jump: by libfaketime.

The machine's own clock is never touched, and the monotonic one of the processes is left as it is:
libfaketime up to 0.9.10 spoils sleeping by that one (an invalid argument, at which WebRTC's threads
try again for ever). There `_SLEEP` stands in front of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from missing import give_up

_LIBRARY = "libfaketimeMT.so.1"
_PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib")
_SLEEP = """
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_nanosleep(clockid_t clock, int how, const struct timespec *time, struct timespec *left) {
    return syscall(SYS_clock_nanosleep, clock, how, time, left) ? errno : 0;
}
"""


@dataclass(frozen=True)
class WrongClock:
    """A clock that is read from a file by whoever has `environment`."""

    libraries: tuple[Path, ...]
    file: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": " ".join(map(str, self.libraries)),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # the times of files stay what the kernel says
            "NO_FAKE_STAT": "1",
        }

    def jump(self, seconds: float) -> None:
        """Be so many seconds ahead of the machine's clock from now on, or behind."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{seconds:+.0f}\n", encoding="ascii")
        fresh.rename(self.file)


@pytest.fixture
def wrong_clock(tmp_path: Path) -> WrongClock:
    """A clock that is right until it jumps."""
    found = (path for place in _PLACES for path in Path(place).glob(f"**/faketime/{_LIBRARY}"))
    library = next(found, None)
    if library is None:
        give_up("no libfaketime on this machine: on Debian `apt-get install faketime`")
    clock = WrongClock((library,), tmp_path / "clock")
    clock.jump(0)
    return clock if _sleeps(clock) else WrongClock((_made_to_sleep(tmp_path), library), clock.file)


def _sleeps(clock: WrongClock) -> bool:
    command = [sys.executable, "-c", "import time; time.sleep(0.001)"]
    environment = os.environ | clock.environment
    return not subprocess.run(command, env=environment, capture_output=True, check=False).returncode


def _made_to_sleep(folder: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        give_up(
            "libfaketime spoils the sleep of threads here, and there is no C compiler to mend it"
        )
    library = folder / "sleep.so"
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=_SLEEP, text=True, check=True)
    return library
