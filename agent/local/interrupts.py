"""Ctrl-C and its kin, as counts: the first asks to stop, the second hurries, the third insists.

A signal handler that raises could leave a child started and unknown. Here it only counts, and every
wait looks at the count.
"""

from __future__ import annotations

import signal
import types

from agent.local import processes


class StopAskedError(Exception):
    """The user wants this to end."""


class Interrupts:
    def __init__(self) -> None:
        self._count = 0

    def install(self) -> None:
        """Take the signals of this process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._counted)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it stays
            signal.signal(signal.SIGHUP, self._counted)

    def check(self) -> None:
        """Raise StopAskedError from the first signal on."""
        if self._count:
            raise StopAskedError

    def pause(self) -> None:
        """Wait a moment; raises StopAskedError from the first signal on."""
        self.check()
        processes.pause()

    @property
    def hurried(self) -> bool:
        return self._count > 1

    @property
    def insistent(self) -> bool:
        return self._count > 2  # noqa: PLR2004 - see the first line

    def _counted(self, _number: int, _frame: types.FrameType | None) -> None:
        self._count += 1
