"""What a rehearsal shows while it runs: on stderr, one line for each thing that was said."""

from __future__ import annotations

import time

from rich.console import Console
from rich.status import Status
from rich.text import Text

STYLES = {"client": "cyan", "ai": "magenta", "!": "yellow"}


class Progress:
    """Lines with the seconds since it began; with a moving one on a terminal."""

    def __init__(self, console: Console, sessions: int) -> None:
        self._console = console
        self._several = sessions > 1
        self._began = time.monotonic()
        self._status: Status | None = None
        if console.is_terminal:
            self._status = console.status(Text("connecting"))
            self._status.start()

    def doing(self, session: int, what: str) -> None:
        """Show what session number `session` (from 0) is at."""
        if self._status is not None:
            self._status.update(Text(self._prefix(session) + what))

    def note(self, session: int, who: str, what: str) -> None:
        """Print a line of session number `session`; `who` is client, ai, ! or nobody."""
        seconds = f"{time.monotonic() - self._began:6.1f} s  "
        speaker = f"{who:<7}"
        self._console.print(
            Text.assemble(
                (seconds, "dim"), self._prefix(session), (speaker, STYLES.get(who, "dim")), what
            ),
            soft_wrap=True,
        )

    def close(self) -> None:
        """Take the moving line away."""
        if self._status is not None:
            self._status.stop()

    def _prefix(self, session: int) -> str:
        return f"[{session + 1}] " if self._several else ""
