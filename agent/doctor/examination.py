"""The whole examination: every part looked at, all at once, each for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection

from agent.doctor import judgement, livekit, providers
from agent.doctor.check import Area, Check, bad, ok
from agent.doctor.spelling import unknown_settings
from agent.local import running
from agent.local.running import Running
from agent.settings import Need, Settings, look, secret
from persistence import diagnosis
from persistence.database import connect, require_current_schema, translated
from persistence.errors import PersistenceError, SchemaOutdatedError
from persistence.journal.inspection import inspect

ANSWER_SECONDS = 20.0
"""For Postgres to answer all that it is asked."""

Part = Callable[[], Awaitable[list[Check]]]


@dataclass(frozen=True)
class Patient:
    """The deployment that is looked at: what the settings name, and what `coach up` brought."""

    settings: Settings
    problems: list[str]
    own_postgres: bool
    """Whether its Postgres is that of this checkout's `coach up`, where a role may do all."""
    is_up: bool


def patient(checkout: Path) -> Patient:
    """Return what there is to look at. Raises SettingsError where no setting can be read."""
    up = running.find(checkout)
    own, _ = look()
    brought = _brought_along(own, up) if up else {}
    settings, problems = look(Need.LIVEKIT, Need.DATABASE, **brought)
    return Patient(settings, problems, "database_url" in brought, up is not None)


def _brought_along(own: Settings, up: Running) -> dict[str, str]:
    """Return the settings that a running `coach up` has instead of the user's."""
    brought = {}
    if own.database_url is None:
        brought["database_url"] = up.database_url
    if own.livekit_url is None:
        brought["livekit_url"] = up.livekit_url
        brought["livekit_api_key"] = up.livekit_api_key
        brought["livekit_api_secret"] = up.livekit_api_secret
    return brought


async def examine(
    who: Patient, *, ask_providers: bool, done: Callable[[str], None] = lambda _: None
) -> list[Check]:
    """Look at everything; `done` is told the name of each part that has been looked at."""
    parts = _parts(who, ask_providers=ask_providers)
    found = await asyncio.gather(*(_look(area, part, done) for area, part in parts.items()))
    settings = [*_settings(who.problems), *unknown_settings()]
    return settings + [check for checks in found for check in checks]


def _parts(who: Patient, *, ask_providers: bool) -> Mapping[Area, Part]:
    settings = who.settings
    parts: dict[Area, Part] = {}
    if settings.database_url is not None:
        parts[Area.POSTGRES] = lambda: _postgres(settings, own_postgres=who.own_postgres)
    if settings.livekit_url and settings.livekit_api_key and settings.livekit_api_secret:
        parts[Area.LIVEKIT] = lambda: livekit.examine(settings)
    parts[Area.JOURNALS] = lambda: _journals(settings)
    parts[Area.PROVIDERS] = lambda: _providers(who, ask=ask_providers)
    return parts


async def _look(area: Area, part: Part, done: Callable[[str], None]) -> list[Check]:
    """Look at one part; what nobody foresaw is a finding, too."""
    try:
        return await part()
    except Exception as error:  # noqa: BLE001 - the others are to be looked at all the same
        return [bad(area, "examination", f"failed: {type(error).__name__}", "report this")]
    finally:
        done(area.value)


def _settings(problems: list[str]) -> list[Check]:
    if not problems:
        return [ok(Area.SETTINGS, "settings", "present and well-formed")]
    checks = []
    for problem in problems:
        name, _, what = problem.partition(" is ")
        checks.append(bad(Area.SETTINGS, name, what, "see .env.example"))
    return checks


async def _postgres(settings: Settings, *, own_postgres: bool) -> list[Check]:
    checks: list[Check] = []
    try:
        with translated():
            async with asyncio.timeout(ANSWER_SECONDS):
                async with await connect(secret(settings.database_url), "doctor") as db:
                    checks.append(ok(Area.POSTGRES, "reachable", "yes"))
                    checks += judgement.of_server(await diagnosis.server(db))
                    checks.append(judgement.of_skew(await diagnosis.skew(db)))
                    role = await diagnosis.role(db)
                    checks += judgement.of_role(role, is_local=own_postgres)
                    if not role.tables_refused:  # else the rest would only say so again
                        await require_current_schema(db)
                        checks.append(ok(Area.POSTGRES, "schema", "current"))
                        checks += await _records(db)
    except SchemaOutdatedError:
        advice = "coach migrate; if a newer version has migrated it, run that version"
        checks.append(bad(Area.POSTGRES, "schema", "not that of this version", advice))
    except (PersistenceError, TimeoutError) as error:
        advice = "is DATABASE_URL right, does the server run, does it let this machine in?"
        found = str(error) or "no answer in time"
        name = "reading" if checks else "reachable"
        checks.append(bad(Area.POSTGRES, name, found, advice))
    return checks


async def _records(db: AsyncConnection[Any]) -> list[Check]:
    return [
        *judgement.of_workers(await diagnosis.workers(db)),
        *judgement.of_sessions(await diagnosis.sessions(db)),
        *judgement.of_dead_letters(await diagnosis.dead_letters(db)),
        *judgement.of_jobs(await diagnosis.jobs(db, judgement.OVERDUE_AFTER)),
    ]


async def _journals(settings: Settings) -> list[Check]:
    try:
        seen = await asyncio.to_thread(inspect, settings.journal_dir, settings.journal_folder)
    except OSError as error:
        advice = "whoever runs the workers must be able to read it"
        return [bad(Area.JOURNALS, "directory", f"cannot be read: {error.strerror}", advice)]
    return judgement.of_journals(seen, settings.journal_max_bytes)


async def _providers(who: Patient, *, ask: bool) -> list[Check]:
    checks = providers.present(who.settings, brought_along=who.is_up)
    return checks + (await providers.examine(who.settings) if ask else [])
