"""How one session wants to be run: job metadata over room metadata over the settings.

Metadata is JSON from outside. What is malformed in it is left out and counted, and never keeps a
client waiting: the session starts with the settings instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from agent.settings import Pipeline, Settings

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*|multi")
RESUMED = "resumed"
"""In the metadata of a job: it follows one that was broken off (`lone_clients` says so)."""

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


@dataclass(frozen=True)
class SessionOptions:
    pipeline: Pipeline
    language: str
    prompt: str
    scenario_id: str | None = None
    resumed: bool = False
    """Whether the client has been speaking with an agent that was lost."""
    ignored: tuple[str, ...] = ()
    """What of the metadata was malformed: field names, or the kind of metadata; never values."""


def session_options(
    settings: Settings, *, room_metadata: str, job_metadata: str, prompts: Collection[str]
) -> SessionOptions:
    """Return how to run the session; `prompts` are the names of the prompts that there are."""
    options = SessionOptions(settings.pipeline, settings.language, settings.prompt)
    for kind, metadata in (("room_metadata", room_metadata), ("job_metadata", job_metadata)):
        options = _overlaid(options, kind, metadata, prompts)
    return options


def _overlaid(
    options: SessionOptions, kind: str, metadata: str, prompts: Collection[str]
) -> SessionOptions:
    if not metadata.strip():
        return options
    try:
        wanted = json.loads(metadata)
    except (ValueError, RecursionError):
        wanted = None
    if not isinstance(wanted, dict):
        return replace(options, ignored=(*options.ignored, kind))
    valid = {name: _valid(name, wanted[name], prompts) for name in _FIELDS if name in wanted}
    malformed = tuple(name for name, value in valid.items() if value is None)
    resumed = options.resumed or wanted.get(RESUMED) is True
    chosen: dict[str, Any] = {name: value for name, value in valid.items() if value is not None}
    return replace(options, **chosen, resumed=resumed, ignored=options.ignored + malformed)


_FIELDS = ("pipeline", "language", "prompt", "scenario_id")


def _valid(name: str, value: object, prompts: Collection[str]) -> str | Pipeline | None:
    """Return the value to use, None if it is malformed."""
    if not isinstance(value, str):
        return None
    match name:
        case "pipeline":
            return Pipeline(value) if value in list(Pipeline) else None
        case "language":
            return value if _LANGUAGE.fullmatch(value) else None
        case "prompt":
            return value if value in prompts else None
        case _:
            return value if _NAME.fullmatch(value) else None
