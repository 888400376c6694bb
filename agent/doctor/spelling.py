"""Settings that nobody reads: where a name is misspelt, the default is used and nothing says so."""

from __future__ import annotations

import difflib

from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from agent.doctor.check import Area, Check, note
from agent.settings import Settings, environment_name

PREFIX = "COACH_"
ELSEWHERE = frozenset({"COACH_API_KEY"})
"""Read by a command, and not a setting."""


def unknown_settings() -> list[Check]:
    """Return what the environment or `.env` set of ours that is no setting; never its value."""
    given = {*EnvSettingsSource(Settings).env_vars, *DotEnvSettingsSource(Settings).env_vars}
    ours = {name.upper() for name in given if name.upper().startswith(PREFIX)}
    known = [environment_name(field) for field in Settings.model_fields]
    return [
        note(Area.SETTINGS, name, "there is no such setting", _advice(name, known))
        for name in sorted(ours - set(known) - ELSEWHERE)
    ]


def _advice(name: str, known: list[str]) -> str:
    meant = difflib.get_close_matches(name, known, n=1)
    return f"is {meant[0]} meant?" if meant else "see .env.example"
