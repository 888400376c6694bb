"""What goes wrong on purpose, and the ground truth of what went over the wire.

`POST /control` takes a fault, or a list of them:

    {"stage": "stt" | "llm" | "tts" | "realtime" | "transcription",
     "kind": "delay" | "status" | "drop" | "hang" | "garbage",
     "at": "connect" | "result",   before the answer begins, or within it
     "after": 0, "count": 1,       passes let through first, passes hit then (null: all)
     "seconds": 0.5,               of a delay
     "status": 500,                of a status
     "model": null}                only where this model is asked for

A pass at `connect` is a request, or the opening of a websocket; at `result` it is the first piece
of an answer (LLM, TTS), a final segment (STT), or a response that has begun (Realtime); the
transcription of a Realtime session has only results, and garbage is one that fails. A `status`
is always at `connect`; the others are at `result` unless told. `GET /control` gives the faults with
their counts left, `DELETE /control` ends them. `GET /control/log?after=<n>` gives the log from its
entry n on.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

LOG_ENTRIES = 50_000


class Stage(StrEnum):
    STT = "stt"
    LLM = "llm"
    TTS = "tts"
    REALTIME = "realtime"
    TRANSCRIPTION = "transcription"


class FaultKind(StrEnum):
    DELAY = "delay"
    STATUS = "status"
    DROP = "drop"
    HANG = "hang"
    GARBAGE = "garbage"


Point = Literal["connect", "result"]


class Fault(BaseModel):
    """One thing that goes wrong; see the module."""

    model_config = ConfigDict(extra="forbid")

    stage: Stage
    kind: FaultKind
    at: Point = "result"
    after: int = Field(default=0, ge=0)
    count: int | None = Field(default=1, ge=1)
    seconds: float = Field(default=0.0, ge=0, le=600)
    status: int = Field(default=500, ge=400, le=599)
    model: str | None = None

    @model_validator(mode="after")
    def _status_comes_first(self) -> Fault:
        if self.kind is FaultKind.STATUS:
            self.at = "connect"
        return self


class Dropped(Exception):  # noqa: N818 — what happens, not what is wrong
    """The connection is to be cut without a word."""


class Refused(Exception):  # noqa: N818 — as above
    """The request is to be answered with an HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class Faults:
    """The faults in force."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    @property
    def in_force(self) -> list[Fault]:
        return list(self._faults)

    async def meet(self, stage: Stage, point: Point, model: str | None = None) -> bool:
        """Let happen what is to happen here; return whether garbage is to be sent.

        `model` is the one that is asked, where a protocol tells.
        Raises Dropped and Refused; a hang lasts until the caller is cancelled.
        """
        garbage = False
        for kind, fault in self._due(stage, point, model):
            match kind:
                case FaultKind.DELAY:
                    await asyncio.sleep(fault.seconds)
                case FaultKind.HANG:
                    await asyncio.Event().wait()
                case FaultKind.DROP:
                    raise Dropped
                case FaultKind.STATUS:
                    raise Refused(fault.status)
                case FaultKind.GARBAGE:
                    garbage = True
        return garbage

    def _due(self, stage: Stage, point: Point, model: str | None) -> list[tuple[FaultKind, Fault]]:
        due = []
        for fault in [f for f in self._faults if (f.stage, f.at) == (stage, point)]:
            if fault.model not in (None, model):
                continue
            if fault.after:
                fault.after -= 1
                continue
            due.append((fault.kind, fault))
            if fault.count is not None:
                fault.count -= 1
                if not fault.count:
                    self._faults.remove(fault)
        return due


class WireLog:
    """What was heard, answered and spoken, and on which connection; kept only for tests."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._entries: deque[dict[str, Any]] = deque(maxlen=LOG_ENTRIES)
        self._count = 0
        self._connections = 0

    def connection(self) -> int:
        """Return a number for a new connection or request."""
        self._connections += 1
        return self._connections

    def add(self, stage: Stage, event: str, connection: int, **what: Any) -> None:
        if self._keep:
            entry = {"n": self._count, "at": time.time(), "stage": stage, "event": event}
            self._entries.append({**entry, "connection": connection, **what})
            self._count += 1

    def since(self, first: int) -> list[dict[str, Any]]:
        return [entry for entry in self._entries if entry["n"] >= first]
