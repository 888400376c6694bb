"""`coach`: the commands, and where their parts are put together.

A command reads its settings, imports what it runs, and starts that; nothing is imported before, so
that `coach --help` answers at once. What goes wrong is said in one line: exit code 2 for settings
and arguments, 1 for what fails while running, 130 for Ctrl-C.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from uuid import UUID

import typer

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from agent.settings import Need, Settings

Outcome = TypeVar("Outcome")

app = typer.Typer(
    help="An AI coach that is spoken with, and loses no word.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys_app = typer.Typer(help="Keys for the API.", no_args_is_help=True)
sessions_app = typer.Typer(help="Sessions, and what was said in them.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(sessions_app, name="sessions")

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


class Scope(StrEnum):
    ADMIN = "admin"
    COACH = "coach"
    CLIENT = "client"
    INTERNAL = "internal"


def main() -> None:
    """Run the command line."""
    try:
        app()
    except Exception as error:  # noqa: BLE001 - whatever it is, a person reads one line
        message, code = _explained(error)
        print(f"coach: {message}", file=sys.stderr)  # noqa: T201
        sys.exit(code)


def _explained(error: Exception) -> tuple[str, int]:
    """Return what to say of `error`, and the exit code."""
    from agent.logs import account
    from agent.settings import SettingsError
    from persistence.errors import PersistenceError

    if isinstance(error, SettingsError):
        return str(error), 2
    if isinstance(error, PersistenceError | OSError):
        return str(error) or type(error).__name__, 1
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed here; `uv sync` in a checkout brings it", 1
    if os.environ.get("COACH_LOG_LEVEL") == "DEBUG":
        return f"unexpected\n{account(error)}", 1
    return f"unexpected {type(error).__name__}; COACH_LOG_LEVEL=DEBUG says where", 1


def _settings(*needs: Need, **overrides: Any) -> Settings:
    """Read the settings and set up logging; raises SettingsError, which names all that lacks."""
    from agent import logs
    from agent import settings as reading

    if sys.stderr.isatty() and "COACH_LOG_FORMAT" not in os.environ:
        overrides.setdefault("log_format", "console")
    found = reading.load(*needs, **overrides)
    logs.configure(found)
    return found


@app.command()
def up(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The API's.")] = None,
    json: Json = False,
) -> None:
    """Start everything for one machine: what is not configured is brought along."""
    from agent.local import up as everything

    raise typer.Exit(everything.run(everything.Wanted(port=port, as_json=json)))


@app.command()
def start() -> None:
    """Run the production worker."""
    _work(devmode=False)


@app.command()
def dev() -> None:
    """Run the worker against a LiveKit server, for development: a stop ends its sessions."""
    _work(devmode=True)


def _work(*, devmode: bool) -> None:
    from agent.settings import Need

    settings = _settings(Need.LIVEKIT, Need.DATABASE, Need.PROVIDERS)
    from agent.worker import server

    raise typer.Exit(asyncio.run(server.run(settings, devmode=devmode)))


@app.command()
def console(
    text: Annotated[bool, typer.Option("--text", help="Type instead of speaking.")] = False,
) -> None:
    """Talk to the coach in this terminal, with its microphone and speaker."""
    from agent.settings import Need

    settings = _settings(Need.PROVIDERS)
    from agent.worker import console as terminal

    terminal.run(settings, text=text)


@app.command()
def api(
    host: Annotated[str | None, typer.Option(help="Where to listen.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 picks a free one.")] = None,
) -> None:
    """Serve the API."""
    from agent.settings import Need

    given = {"api_host": host, "api_port": port}
    overrides = {name: value for name, value in given.items() if value is not None}
    settings = _settings(Need.LIVEKIT, Need.DATABASE, **overrides)
    from agent.api import server

    asyncio.run(server.run(settings))


@app.command()
def jobs() -> None:
    """Run the jobs that follow sessions."""
    from agent.settings import Need

    settings = _settings(Need.DATABASE, Need.LLM)
    from agent.jobs import runner

    asyncio.run(runner.run(settings))


@app.command()
def migrate(
    grant: Annotated[
        str | None, typer.Option(help="Also let this database role run workers and the API.")
    ] = None,
) -> None:
    """Bring the database's schema to what this version needs."""
    from agent.settings import Need, secret

    url = secret(_settings(Need.DATABASE).database_url)
    from persistence import migrate as migration

    migration.upgrade(url)
    if grant is not None:
        migration.grant(url, grant)
    typer.echo(f"the schema is at {migration.head()}")


@app.command()
def rehearse(
    url: Annotated[
        str | None, typer.Option(help="The deployment's API; else this folder's coach up.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="COACH_API_KEY", help="A key with scopes admin and client.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.1, help="How long to talk.")] = None,
    sessions: Annotated[int, typer.Option(min=1, max=1000, help="How many at once.")] = 1,
    json: Json = False,
) -> None:
    """Talk to a running deployment and check that Postgres has what was said."""
    # LiveKit's client tells of every stream that nobody asked for
    _settings(log_level=os.environ.get("COACH_LOG_LEVEL", "WARNING"))
    from agent.local import rehearse as rehearsal

    outcome = rehearsal.run(url=url, api_key=key, minutes=minutes, sessions=sessions, as_json=json)
    raise typer.Exit(outcome)


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="Whose key it is; for people, not checked.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; can be repeated.")],
    identity: Annotated[str | None, typer.Option(help="Who its caller is in a room.")] = None,
    room: Annotated[list[str] | None, typer.Option(help="A room it may join; repeat.")] = None,
    expires: Annotated[str | None, typer.Option(help="When, as 12h, 30d or 8w from now.")] = None,
    json: Json = False,
) -> None:
    """Make a key and show it, this once."""
    from agent import issuing, terminal

    try:
        new = issuing.checked(name, [s.value for s in scope], identity, room, expires)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    key_id, key = _with_database(lambda db: issuing.create(db, new))
    terminal.show_new_key(key_id, key, as_json=json)


@keys_app.command("list")
def list_keys(json: Json = False) -> None:
    """List the keys there are, and what each may do."""
    from agent import terminal
    from persistence import keys

    terminal.show_keys(_with_database(keys.listed), as_json=json)


@keys_app.command("revoke")
def revoke_key(key_id: Annotated[UUID, typer.Argument(metavar="ID")]) -> None:
    """Revoke a key, for good and at once."""
    from persistence import keys

    if not _with_database(lambda db: keys.revoke(db, key_id)):
        raise typer.BadParameter(f"there is no key {key_id}")
    typer.echo(f"revoked {key_id}")


@sessions_app.command("list")
def list_sessions(
    client: Annotated[str | None, typer.Option(help="A user's id or identity.")] = None,
    coach: Annotated[str | None, typer.Option(help="A user's id or identity.")] = None,
    status: Annotated[Literal["active", "completed", "cancelled"] | None, typer.Option()] = None,
    text: Annotated[str | None, typer.Option(help="Somewhere in what was said.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    json: Json = False,
) -> None:
    """List sessions, newest first."""
    from agent import terminal
    from persistence import transcripts
    from persistence.transcripts import Filters

    filters = Filters(client=client, coach=coach, status=status, text=text)
    rows = _with_database(lambda db: transcripts.page(db, filters, limit=limit))
    terminal.show_sessions(rows, as_json=json)


@sessions_app.command("show")
def show_session(
    session_id: Annotated[UUID, typer.Argument(metavar="ID")], json: Json = False
) -> None:
    """Show what was said in a session."""
    from agent import terminal
    from persistence import transcripts

    row, turns = _with_database(lambda db: transcripts.whole(db, session_id))
    if row is None:
        raise typer.BadParameter(f"there is no session {session_id}")
    terminal.show_transcript(row, turns, as_json=json)


def _with_database(use: Callable[[AsyncConnection[Any]], Awaitable[Outcome]]) -> Outcome:
    """Return what `use` makes of a connection; raises PersistenceError."""

    async def run() -> Outcome:
        async with _connection() as db:
            return await use(db)

    return asyncio.run(run())


@asynccontextmanager
async def _connection() -> AsyncIterator[AsyncConnection[Any]]:
    """Connect to DATABASE_URL, else to the Postgres of this checkout's running `coach up`."""
    from agent.local import running
    from agent.settings import Need, secret
    from persistence import database

    own = None if _settings().database_url else running.database_url(Path.cwd())
    url = own or secret(_settings(Need.DATABASE).database_url)
    with database.translated():
        async with await database.connect(url, "cli") as db:
            yield db


if __name__ == "__main__":
    main()
