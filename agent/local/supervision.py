"""Keeping parts running: started when ready, restarted when they die, stopped in order."""

from __future__ import annotations

import time

from agent.local import processes
from agent.local.interrupts import Interrupts
from agent.local.parts import READY_SECONDS, Part
from agent.local.processes import Child, ChildDiedError, Children, Pause
from agent.local.screen import Screen

RESTARTS = 3
"""How often a part may die unasked within `RESTART_SECONDS` before nothing goes on."""
RESTART_SECONDS = 600.0
HURRY_SECONDS = 5.0
"""What a part has to end by itself once the user hurries."""


class _NoPatienceError(Exception):
    """The user wants this to end now."""


class Supervision:
    """The parts that run, in the order in which they were started."""

    def __init__(self, children: Children, screen: Screen, interrupts: Interrupts) -> None:
        self._children = children
        self._screen = screen
        self._interrupts = interrupts
        self._parts: list[Part] = []

    def begin(self, part: Part) -> None:
        """Start `part` without waiting for it."""
        part.child = part.spawn()
        self._parts.append(part)

    def await_ready(self, part: Part) -> Child:
        """Return the child of `part` when it is ready; raises ChildDiedError."""
        child = _child(part)
        with self._screen.working(part.name, "starting"):
            processes.wait_until(
                lambda: part.ready(child), child, READY_SECONDS, self._interrupts.pause
            )
        return child

    def give_up(self, part: Part) -> None:
        """Forget a part that did not become ready, whatever is left of it ended."""
        self._parts.remove(part)
        self._children.stop(_child(part), deadline=0)

    def look_after(self) -> None:
        """Restart what has died; raises ChildDiedError for a part that does so too often."""
        for part in self._parts:
            child = _child(part)
            if not child.running():
                self._restart(part, child)
            elif part.awaited and part.ready(child):
                part.awaited = False
                self._screen.did(part.name, "runs again")

    def stop(self, part: Part) -> Child | None:
        """Stop `part` in order, or soon if the user hurries; return its child if there was one."""
        if part not in self._parts:
            return None
        self._parts.remove(part)
        child = _child(part)
        with self._screen.working(part.name, "stopping"):
            try:
                in_time = self._children.stop(child, part.stop_seconds, self._patience(child))
            except _NoPatienceError:
                in_time = False
        if in_time:
            self._screen.did(part.name, "stopped")
        else:
            self._screen.note(part.name, "killed")
        return child

    def _patience(self, child: Child) -> Pause:
        """Return the wait for `child` to stop: a user who hurries has it asked again."""
        urged: list[float] = []

        def pause() -> None:
            if self._interrupts.hurried and not urged:
                child.process.terminate()
                urged.append(time.monotonic())
            late = urged and time.monotonic() > urged[0] + HURRY_SECONDS
            if late or self._interrupts.insistent:
                raise _NoPatienceError
            processes.pause()

        return pause

    def _restart(self, part: Part, child: Child) -> None:
        now = time.monotonic()
        part.deaths.append(now)
        while part.deaths[0] < now - RESTART_SECONDS:
            part.deaths.popleft()
        if len(part.deaths) > RESTARTS:
            raise ChildDiedError(child)
        self._screen.note(part.name, f"died and is started again. {ChildDiedError(child)}")
        self._children.stop(child, deadline=0)  # whatever it started goes with it
        part.child = part.spawn()
        part.awaited = True


def _child(part: Part) -> Child:
    if part.child is None:
        raise RuntimeError(f"{part.name} was never started")
    return part.child
