"""`coach keys`: who may call the API, and as whom."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from agent.commands import edge
from agent.commands.edge import Json

keys_app = typer.Typer(help="Keys for the API.", no_args_is_help=True)


class Scope(StrEnum):
    ADMIN = "admin"
    COACH = "coach"
    CLIENT = "client"
    INTERNAL = "internal"


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="Whose key it is, for people to read.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; can be repeated.")],
    identity: Annotated[str | None, typer.Option(help="Who its caller is in a room.")] = None,
    room: Annotated[
        list[str] | None, typer.Option(help="A room it may join; can be repeated.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="In 12h, 30d or 8w; else never.")] = None,
    json: Json = False,
) -> None:
    """Make a key and show it, this once."""
    from agent.commands import issuing, terminal

    try:
        new = issuing.checked(name, [s.value for s in scope], identity, room, expires)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    key_id, key = edge.with_database(lambda db: issuing.create(db, new))
    terminal.show_new_key(key_id, key, as_json=json)


@keys_app.command("list")
def list_keys(json: Json = False) -> None:
    """List the keys there are, and what each may do."""
    from agent.commands import terminal
    from persistence import keys

    terminal.show_keys(edge.with_database(keys.listed), as_json=json)


@keys_app.command("revoke")
def revoke_key(key_id: Annotated[UUID, typer.Argument(metavar="ID")], json: Json = False) -> None:
    """Revoke a key, for good and at once."""
    from agent.commands import terminal
    from persistence import keys

    if not edge.with_database(lambda db: keys.revoke(db, key_id)):
        raise typer.BadParameter(f"there is no key {key_id}")
    terminal.show_revoked(key_id, as_json=json)
