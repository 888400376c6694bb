"""`coach`: the commands, and where their parts are put together.

A command reads its settings, imports what it runs, and starts that; nothing is imported before, so
that `coach --help` answers at once. What goes wrong is said in one line: exit code 2 for settings
and arguments, 1 for what fails while running, 130 for Ctrl-C.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated

import typer

from agent.commands.chaos import chaos
from agent.commands.edge import Json, explained, read_settings
from agent.commands.keys import keys_app
from agent.commands.operating import audit, deadletters_app, doctor
from agent.commands.sessions import sessions_app

app = typer.Typer(
    help="An AI coach that is spoken with, and loses no word.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
ONE_MACHINE, PROCESSES, OPERATING, DEVELOPING = (
    "To begin with",
    "The processes of a deployment",
    "Looking after it: at DATABASE_URL, else in this folder's running coach up",
    "Developing",
)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except Exception as error:  # noqa: BLE001 - whatever it is, a person reads one line
        message, code = explained(error)
        print(f"coach: {message}", file=sys.stderr)  # noqa: T201
        sys.exit(code)


@app.command(rich_help_panel=ONE_MACHINE)
def up(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The API's; else 8000 or a free one.")
    ] = None,
    json: Json = False,
) -> None:
    """Start everything for one machine: what is not configured is brought along.

    Shows a link that signs a browser in, and runs until Ctrl-C, which completes
    the sessions; a second one hurries. What was said is there again next time.
    """
    from agent.local import up as everything

    raise typer.Exit(everything.run(everything.Wanted(port=port, as_json=json)))


@app.command(rich_help_panel=ONE_MACHINE)
def rehearse(
    url: Annotated[
        str | None, typer.Option(help="The deployment's API; else this folder's coach up.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="COACH_API_KEY", help="A key with scopes admin and client.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="How long to keep talking; else a few sentences.")
    ] = None,
    sessions: Annotated[int, typer.Option(min=1, max=1000, help="How many at once.")] = 1,
    json: Json = False,
) -> None:
    """Talk to a running deployment and check that Postgres has what was said."""
    # LiveKit's client tells of every stream that nobody asked for
    read_settings(log_level=os.environ.get("COACH_LOG_LEVEL", "WARNING"))
    from agent.local import rehearse as rehearsal

    outcome = rehearsal.run(url=url, api_key=key, minutes=minutes, sessions=sessions, as_json=json)
    raise typer.Exit(outcome)


@app.command(rich_help_panel=PROCESSES)
def migrate(
    grant: Annotated[
        str | None, typer.Option(help="Also let this database role run workers and the API.")
    ] = None,
) -> None:
    """Bring the database's schema to what this version needs, if it is not there yet."""
    from agent.settings import Need, secret

    url = secret(read_settings(Need.DATABASE).database_url)
    from persistence import migrate as migration

    migration.upgrade(url)
    if grant is not None:
        migration.grant(url, grant)
    typer.echo(f"the schema is at {migration.head()}")


@app.command(rich_help_panel=PROCESSES)
def start() -> None:
    """Run the production worker: it takes sessions, and runs the jobs that follow them.

    SIGTERM lets its sessions come to their ends first, a second one hurries. Exit
    code 3 if not all that was said is in Postgres by then: COACH_JOURNAL_DIR has it.
    """
    _work(devmode=False)


@app.command(rich_help_panel=PROCESSES)
def api(
    host: Annotated[str | None, typer.Option(help="Where to listen.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 picks a free one.")] = None,
) -> None:
    """Serve the API and its page."""
    from agent.settings import Need

    given = {"api_host": host, "api_port": port}
    overrides = {name: value for name, value in given.items() if value is not None}
    settings = read_settings(Need.LIVEKIT, Need.DATABASE, **overrides)
    from agent.api import server

    asyncio.run(server.run(settings))


@app.command(rich_help_panel=PROCESSES)
def jobs() -> None:
    """Run only the jobs that follow sessions: apart from workers with COACH_RUN_JOBS=false."""
    from agent.settings import Need

    settings = read_settings(Need.DATABASE, Need.LLM)
    from agent.jobs import runner
    from agent.worker import signals
    from agent.worker.background import to_the_end

    asyncio.run(to_the_end(signals.until_stopped(lambda: runner.run(settings))))


app.command(rich_help_panel=OPERATING)(doctor)
app.command(rich_help_panel=OPERATING)(audit)
app.add_typer(sessions_app, name="sessions", rich_help_panel=OPERATING)
app.add_typer(keys_app, name="keys", rich_help_panel=OPERATING)
app.add_typer(deadletters_app, name="deadletters", rich_help_panel=OPERATING)


@app.command(rich_help_panel=DEVELOPING)
def dev() -> None:
    """Run a worker against your LiveKit server and keys, for development.

    As `coach start`, but a stop ends its sessions.
    """
    _work(devmode=True)


@app.command(rich_help_panel=DEVELOPING)
def console(
    text: Annotated[bool, typer.Option("--text", help="Type instead of speaking.")] = False,
) -> None:
    """Talk to the coach in this terminal, with its microphone and speaker."""
    from agent.settings import Need

    settings = read_settings(Need.PROVIDERS)
    from agent.worker import console as terminal

    terminal.run(settings, text=text)


app.command(rich_help_panel=DEVELOPING)(chaos)


def _work(*, devmode: bool) -> None:
    from agent.settings import Need

    settings = read_settings(Need.LIVEKIT, Need.DATABASE, Need.PROVIDERS)
    from agent.worker import server
    from agent.worker.background import to_the_end

    raise typer.Exit(asyncio.run(to_the_end(server.run(settings, devmode=devmode))))


if __name__ == "__main__":
    main()
