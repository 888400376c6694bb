"""What commands have in common: their settings, a database, and how a failure is said."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from agent.settings import Need, Settings

Outcome = TypeVar("Outcome")

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


def explained(error: Exception) -> tuple[str, int]:
    """Return what to say of `error`, and the exit code."""
    from agent.logs import account
    from agent.settings import SettingsError
    from persistence.errors import PersistenceError

    debugged = os.environ.get("COACH_LOG_LEVEL") == "DEBUG"
    if not debugged:
        error = _first(error)
    if isinstance(error, SettingsError):
        return str(error), 2
    if isinstance(error, PersistenceError | OSError):
        return str(error) or type(error).__name__, 1
    if isinstance(error, UnicodeEncodeError):
        return "an argument is no text that UTF-8 can hold", 2
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed here; `uv sync` in a checkout brings it", 1
    if debugged:
        return f"unexpected\n{account(error)}", 1
    return f"unexpected {type(error).__name__}; COACH_LOG_LEVEL=DEBUG says where", 1


def _first(error: Exception) -> Exception:
    """Return what failed first, where that ended other tasks, too."""
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


def read_settings(*needs: Need, **overrides: Any) -> Settings:
    """Read the settings and set up logging; raises SettingsError, which names all that lacks."""
    from agent import logs
    from agent import settings as reading

    if sys.stderr.isatty() and "COACH_LOG_FORMAT" not in os.environ:
        overrides.setdefault("log_format", "console")
    found = reading.load(*needs, **overrides)
    logs.configure(found)
    return found


def with_database(use: Callable[[AsyncConnection[Any]], Awaitable[Outcome]]) -> Outcome:
    """Return what `use` makes of a connection; raises PersistenceError."""

    async def run() -> Outcome:
        async with connection() as db:
            return await use(db)

    return asyncio.run(run())


@asynccontextmanager
async def connection() -> AsyncIterator[AsyncConnection[Any]]:
    """Connect to DATABASE_URL, else to the Postgres of this checkout's running `coach up`.

    Raises SettingsError where there is neither.
    """
    from agent.local import running
    from agent.settings import SettingsError, secret
    from persistence import database

    url = secret(read_settings().database_url) or running.database_url(Path.cwd())
    if url is None:
        raise SettingsError(["DATABASE_URL is missing, and no coach up is ready in this folder"])
    with database.translated():
        async with await database.connect(url, "cli") as db:
            yield db
