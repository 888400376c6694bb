"""Processes whose wall clock is another than the machine's, and may jump: by libfaketime.

The machine's own clock is never touched, and the monotonic one of the processes is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from missing import give_up

_LIBRARY = "libfaketimeMT.so.1"
_PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib")


@dataclass(frozen=True)
class WrongClock:
    """A clock that is read from a file by whoever has `environment`."""

    library: Path
    file: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self.library),
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
    clock = WrongClock(library, tmp_path / "clock")
    clock.jump(0)
    return clock
