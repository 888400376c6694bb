"""`coach sessions`: what was said in them."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import typer

from agent.commands import edge
from agent.commands.edge import Json

sessions_app = typer.Typer(help="Sessions, and what was said in them.", no_args_is_help=True)


@sessions_app.command("list")
def list_sessions(
    client: Annotated[str | None, typer.Option(help="A user's id or identity.")] = None,
    coach: Annotated[str | None, typer.Option(help="A user's id or identity.")] = None,
    status: Annotated[
        Literal["active", "completed", "cancelled"] | None, typer.Option(help="Else any.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Words that were all said in it.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    json: Json = False,
) -> None:
    """List sessions, newest first."""
    from agent.commands import terminal
    from persistence import listing
    from persistence.listing import Filters

    filters = Filters(client=client, coach=coach, status=status, text=text)
    rows = edge.with_database(lambda db: listing.page(db, filters, limit=limit))
    terminal.show_sessions(rows, as_json=json)


@sessions_app.command("show")
def show_session(
    session_id: Annotated[UUID, typer.Argument(metavar="ID")], json: Json = False
) -> None:
    """Show what was said in a session; `coach sessions list` has the ids."""
    from agent.commands import terminal
    from persistence import transcripts

    found = edge.with_database(lambda db: transcripts.whole(db, session_id))
    if found is None:
        raise typer.BadParameter(f"there is no session {session_id}")
    terminal.show_transcript(found.session, found.turns, as_json=json)
