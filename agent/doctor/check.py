"""One line of a doctor's report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"
    """Good to know, or to be done some day; nobody has to come."""
    BAD = "bad"
    """Somebody has to do something."""


class Area(StrEnum):
    SETTINGS = "settings"
    POSTGRES = "Postgres"
    LIVEKIT = "LiveKit"
    JOURNALS = "journals"
    WORKERS = "workers"
    SESSIONS = "sessions"
    JOBS = "jobs"
    PROVIDERS = "providers"


@dataclass(frozen=True, slots=True)
class Check:
    area: Area
    name: str
    level: Level
    found: str
    advice: str = ""
    """What to do; empty where there is nothing."""


def ok(area: Area, name: str, found: str) -> Check:
    return Check(area, name, Level.OK, found)


def note(area: Area, name: str, found: str, advice: str) -> Check:
    return Check(area, name, Level.NOTE, found, advice)


def bad(area: Area, name: str, found: str, advice: str) -> Check:
    return Check(area, name, Level.BAD, found, advice)
