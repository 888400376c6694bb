"""Deferring what follows a session, in the transaction that commits its end: both or neither."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import psycopg
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException

from agent.jobs import app
from agent.jobs.summary import MIN_TURNS

_PRIORITY_NOW = 1
_PRIORITY_LATER = 0
"""Of jobs with one lock the earlier one goes first, even if it is not due yet. What is due now goes
before what a reclaim put off, so that a session whose true end arrives does not wait for it."""


async def defer(
    conn: psycopg.AsyncConnection,
    session_id: UUID,
    *,
    turn_count: int,
    delay: timedelta | None = None,
) -> None:
    """Defer the jobs that follow a session, on `conn`, in its transaction; the caller commits.

    `turn_count` is the turns known now: with fewer than 5 there is nothing to do. `delay` puts the
    jobs off. Deferring twice does no harm: each transcript is worked on once. Raises the driver's
    own errors (psycopg.Error).
    """
    if turn_count < MIN_TURNS:
        return
    deferrer = (
        app.build(PsycopgConnector())
        .tasks[app.SUMMARISE]
        .configure(
            lock=app.session_lock(str(session_id)),
            priority=_PRIORITY_LATER if delay else _PRIORITY_NOW,
            schedule_in={"seconds": int(delay.total_seconds())} if delay else None,
            connection=conn,
        )
    )
    try:
        await deferrer.defer_async(session_id=str(session_id))
    except ConnectorException as error:
        # The shipper tells what Postgres refuses from what it can try again by the driver's error.
        raise (error.__cause__ or error) from None
