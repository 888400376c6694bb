"""A clock that a test can make wrong, for the processes that it starts (`agent.local`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from missing import give_up

from agent.local import wrong_clock as wrong_clocks
from agent.local.wrong_clock import WrongClock, WrongClockError


@pytest.fixture
def wrong_clock(tmp_path: Path) -> WrongClock:
    """A clock that is right until it jumps."""
    try:
        library = wrong_clocks.library()
    except WrongClockError as error:
        give_up(str(error))
    return WrongClock.made(library, tmp_path / "clock")
