"""Agents that are dead and still in their room, to be taken out of it.

A killed job says no goodbye, and a LiveKit server waits 20 s for its connection to come back (three
constants of the server: 10 s until it is interrupted, 5 s until it has failed, 5 s for a new one).
So long a client speaks to nobody, and nobody else can be called: there is an agent. But a worker
knows at once which of its jobs have died, and who takes over its folder knows which died with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from persistence import journal

BELIEVED_SECONDS = 60.0
"""A job that died before this (seconds ago) is not in its room any more: who cannot take it out by
then need not try again."""


class LostAgents:
    """Agents' identities, each with its room.

    `running` gives those of the jobs that run under this worker, `lost` those that ran before it.
    """

    def __init__(
        self, running: Callable[[], Mapping[str, str]], lost: Mapping[str, str] | None = None
    ) -> None:
        self._running = running
        self._known: dict[str, str] = {}
        self._lost = dict(lost or {})
        self._since = dict.fromkeys(self._lost, time.monotonic())

    @property
    def running(self) -> Mapping[str, str]:
        return self._running()

    def note(self) -> None:
        """Take note of whose jobs run: one may be gone by the next look."""
        self._known = {**self._known, **self.running}

    def look(self) -> Mapping[str, str]:
        """Return whose job has gone, well or badly, and was not dealt with."""
        running, now = dict(self.running), time.monotonic()
        for agent, room in self._known.items():
            if agent not in running:
                self._lost[agent], self._since[agent] = room, now
        self._known = running
        for agent, since in list(self._since.items()):
            if now - since > BELIEVED_SECONDS:
                self.settle(agent)
        return dict(self._lost)

    def settle(self, agent: str) -> None:
        """Take note that `agent` is not in its room any more."""
        self._lost.pop(agent, None)
        self._since.pop(agent, None)


def left_by_dead_jobs(folder: Path) -> dict[str, str]:
    """Return the agents, each with its room, whose journals another worker left in `folder`.

    A job's agent goes by the name that the framework gives it.
    """
    starts = journal.lost_jobs(folder, BELIEVED_SECONDS)
    return {f"agent-{start.job_id}": start.room_name for start in starts}
