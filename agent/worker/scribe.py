"""Puts what the recorder makes of a conversation into its journal.

Nothing here blocks, and no fault of recorder or journal reaches the conversation: it is logged by
its kind, and the receipt says that something is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from agent.worker.clock import SessionClock
from agent.worker.recorder import Recorder
from persistence.events import EndReason, Event, Started
from persistence.journal import JournalWriter

log = structlog.get_logger("coach.scribe")


@dataclass
class Scribe:
    recorder: Recorder
    journal: JournalWriter
    clock: SessionClock = field(default_factory=SessionClock)
    _trouble_told: bool = False

    def start(self, started: Started) -> None:
        """Journal the session's start."""
        self.journal.append(started)

    def write(self, make: Callable[[datetime], list[Event]]) -> None:
        """Journal what `make`, given the session's time, makes; raises nothing."""
        try:
            now = self.clock.now()
            if events := [*self._trouble(now), *make(now)]:
                self.journal.append(*events)
        except Exception as error:  # the conversation goes on whatever fails here
            self.recorder.miss("recording_failed")
            log.exception("recording_failed", error=type(error).__name__)

    def _trouble(self, now: datetime) -> list[Event]:
        """Return a marker, once, where the disk refused the journal: it is written when it can be.

        A session that runs says so by it; the receipt comes with its end.
        """
        trouble = self.journal.trouble
        if trouble is None or self._trouble_told:
            return []
        self._trouble_told = True
        return self.recorder.marker(now, "journal_degraded", trouble=trouble)

    def end(self, reason: EndReason) -> None:
        """Journal the session's end; a second one does nothing."""
        self.write(lambda now: self.recorder.end(now, reason, trouble=self.journal.trouble))
