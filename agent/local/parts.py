"""The parts of a deployment that `coach up` runs as children, and what it tells them.

Whatever is missing in the settings is brought along: each of those parts is on the loopback
interface of this machine, and is told to the others through their environment alone.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent.local.processes import Child
from agent.settings import Settings, environment_name

PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy"})
STAND_IN_KEY = "offline-stand-in"

READY_SECONDS = 120.0
"""For a part to be ready on a slow machine; one that cannot be ends by itself before."""

Environment = dict[str, str]
Ready = Callable[[Child], bool]


@dataclass
class Part:
    """One program that `coach up` keeps running."""

    name: str
    spawn: Callable[[], Child]
    ready: Ready
    stop_seconds: float
    child: Child | None = None
    awaited: bool = False
    """Whether it was restarted and has not been ready since."""
    deaths: deque[float] = field(default_factory=deque)
    """When it died unasked, by the monotonic clock in seconds."""


@dataclass(frozen=True)
class Missing:
    """What the settings leave to `coach up`."""

    postgres: bool
    livekit: bool
    deepgram: bool
    openai: bool

    @property
    def providers(self) -> bool:
        return self.deepgram or self.openai


def missing(settings: Settings) -> Missing:
    """Return what `settings` do not name."""
    return Missing(
        postgres=settings.database_url is None,
        livekit=settings.livekit_url is None,
        deepgram=settings.deepgram_api_key is None,
        openai=settings.openai_api_key is None,
    )


def environment(settings: Settings, outer: Mapping[str, str]) -> Environment:
    """Return what children have of the `outer` environment, for all parts on one machine.

    What the user has set stands; only logs are never quieter than what readiness is read from.
    """
    lacking = missing(settings)
    made = {name: value for name, value in outer.items() if not _in_the_way(name, lacking)}
    made["OPENBLAS_NUM_THREADS"] = outer.get("OPENBLAS_NUM_THREADS", "1")
    made["COACH_LOG_LEVEL"] = "DEBUG" if settings.log_level == "DEBUG" else "INFO"
    defaults = {
        "load_threshold": "1",  # one machine: there is no other worker to leave a client to
        "drain_seconds": "1",  # a stop is meant; LiveKit's drain takes 0 for no limit
        **({"turn_detection": "vad"} if lacking.deepgram else {}),
    }
    chosen = settings.model_fields_set
    return made | {
        environment_name(name): value for name, value in defaults.items() if name not in chosen
    }


def proxied(outer: Mapping[str, str]) -> bool:
    """Return whether the `outer` environment sends connections through a proxy."""
    return any(name.lower() in PROXIES and value for name, value in outer.items())


def _in_the_way(name: str, lacking: Missing) -> bool:
    """Return whether a variable would send local connections through a proxy."""
    return name.lower() in PROXIES and (lacking.livekit or lacking.providers)


def command(*arguments: str) -> list[str]:
    """Return the command line of one of our own programs."""
    return [sys.executable, "-m", *arguments]


def stand_in_urls(child: Child) -> dict[str, str] | None:
    """Return the URLs that the providers' stand-in has printed, None before it has."""
    line = next((line for line in child.output() if line.startswith("{")), None)
    return json.loads(line) if line else None


def stand_in_environment(urls: Mapping[str, str], lacking: Missing) -> Environment:
    """Return what points the plugins at the stand-in, for the keys that are missing."""
    made: Environment = {}
    if lacking.deepgram:
        made |= {"DEEPGRAM_API_KEY": STAND_IN_KEY, "DEEPGRAM_BASE_URL": urls["deepgram"]}
    if lacking.openai:
        made |= {"OPENAI_API_KEY": STAND_IN_KEY, "OPENAI_BASE_URL": urls["openai"]}
    return made


def worker_registered(child: Child) -> bool:
    return any("worker_registered" in line for line in child.output())


def api_serves(child: Child) -> bool:
    """Return whether the API has said that it serves: on its port another one may answer."""
    return any("Application startup complete" in line for line in child.output())
