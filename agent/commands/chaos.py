"""`coach chaos`: break everything at random, and count the words that were lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from agent.commands.edge import Json, read_settings


def chaos(
    faults: Annotated[int, typer.Option(min=1, help="How many faults in all.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed plans the same.")] = 1,
    rooms: Annotated[
        int | None, typer.Option(min=0, help="How many with rooms and audio; else one in ten.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option(metavar="K", help="Play this one again: 12, or room-3.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan of K or the first.")] = False,
    state: Annotated[
        Path | None, typer.Option(help="Where ledger and evidence are; else var/chaos.")
    ] = None,
    json: Json = False,
    json_file: Annotated[Path | None, typer.Option(help="JSON into this file.")] = None,
) -> None:
    """Break everything at random, again and again, and look whether a word was lost."""
    read_settings(log_level=os.environ.get("COACH_LOG_LEVEL", "WARNING"))
    from agent.local.chaos import campaigns

    wanted = campaigns.Wanted(faults, seed, rooms, campaign, plan, state, json, json_file)
    raise typer.Exit(campaigns.run(wanted))
