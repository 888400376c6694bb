"""What an operator asks: are the records whole, what was refused, and does it go through now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from agent.commands import edge
from agent.commands.edge import Json

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

    from agent.commands.reports import Audit

deadletters_app = typer.Typer(
    help="Events that Postgres refused: kept, shown, put through again.", no_args_is_help=True
)


@deadletters_app.command("list")
def list_dead_letters(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
    json: Json = False,
) -> None:
    """List the events that Postgres refused, oldest first; never what is in them."""
    from agent.commands import reports
    from persistence import deadletters

    async def look(db: AsyncConnection[Any]) -> tuple[list[deadletters.DeadLetter], int]:
        return await deadletters.show(db, limit), await deadletters.count(db)

    letters, total = edge.with_database(look)
    reports.show_dead_letters(letters, total, as_json=json)


@deadletters_app.command("retry")
def retry_dead_letters(
    ids: Annotated[
        list[UUID] | None, typer.Argument(metavar="[ID]...", help="Which of the list; else all.")
    ] = None,
    json: Json = False,
) -> None:
    """Put refused events through again, after a fix; exit code 1 if any is refused again."""
    from agent.commands import reports
    from agent.jobs import after_session
    from persistence import deadletters

    wanted = set(ids or ())
    retried = edge.with_database(
        lambda db: deadletters.retry(db, after_session.defer, sorted(wanted))
    )
    unknown = max(0, len(wanted) - retried.accepted - retried.refused)
    reports.show_retried(retried, unknown, as_json=json)
    raise typer.Exit(1 if retried.refused or unknown else 0)


def audit(
    since: Annotated[
        str | None, typer.Option(help="Sessions from then on: 24h, 7d, or 2026-11-21.")
    ] = None,
    json: Json = False,
) -> None:
    """Hold every stored session against its own receipt; exit code 1 if one does not match."""
    from datetime import UTC, datetime

    from agent.commands import reports
    from agent.commands.since import moment_of

    try:
        moment = moment_of(since, datetime.now(UTC)) if since is not None else None
    except ValueError as error:
        raise typer.BadParameter(f"--since {error}") from None
    report = reports.Audit(as_json=json)
    edge.with_database(lambda db: _audit(db, moment, report))
    raise typer.Exit(1 if report.findings else 0)


async def _audit(db: AsyncConnection[Any], since: datetime | None, report: Audit) -> None:
    from persistence import audit

    with report.written():
        await report.follow(audit.verdicts(db, since), await audit.count(db, since))
        report.add(await audit.letters_of_none(db))


def doctor(
    providers: Annotated[
        bool, typer.Option("--providers", help="Also ask Deepgram and OpenAI for an answer.")
    ] = False,
    json: Json = False,
) -> None:
    """Look at everything that a deployment stands on; exit code 1 if something needs a person."""
    import asyncio
    from pathlib import Path

    from agent import logs
    from agent.doctor import examination, screen

    who = examination.patient(Path.cwd())
    logs.configure(who.settings.model_copy(update={"log_level": "WARNING"}))
    with screen.working() as done:
        checks = asyncio.run(examination.examine(who, ask_providers=providers, done=done))
    screen.show(checks, as_json=json)
    raise typer.Exit(0 if screen.healthy(checks) else 1)
