"""Deferring what follows a session, in the transaction that commits its end: both or neither."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.types import JSONDict

from agent.jobs import app as jobs_app
from agent.jobs.follow_up import defer_all
from agent.jobs.names import FOLLOW_UP

SESSIONS_A_JOB = 250
"""Of those put off: a worker that is lost leaves many, and its successor has other things to do."""


async def defer(
    conn: psycopg.AsyncConnection, session_ids: Sequence[UUID], *, delay: timedelta | None = None
) -> None:
    """Defer the jobs that follow sessions, on `conn`, in its transaction; the caller commits.

    What `delay` puts off is one job for many sessions, which defers those of each when it is due.
    Deferring twice does no harm: each transcript is worked on once. Raises the driver's own errors
    (psycopg.Error).
    """
    app = jobs_app.build(PsycopgConnector())
    try:
        if delay:
            await _put_off(app, conn, session_ids, delay)
        else:
            await defer_all(app, conn, session_ids)
    except ConnectorException as error:
        # The shipper tells what Postgres refuses from what it can try again by the driver's error.
        raise (error.__cause__ or error) from None


async def _put_off(
    app: App, conn: psycopg.AsyncConnection, session_ids: Sequence[UUID], delay: timedelta
) -> None:
    # when that is, is by Postgres's clock, as everything is by which workers are lost
    due = await (await conn.execute("SELECT now() + %s::interval", [delay])).fetchone()
    assert due is not None  # noqa: S101 it is one row
    later = app.tasks[FOLLOW_UP].configure(schedule_at=due[0], connection=conn)
    # one string, since a list of that many takes longer to quote than all else here together
    ids = [str(session_id) for session_id in session_ids]
    portions: list[JSONDict] = [
        {"session_ids": " ".join(ids[start : start + SESSIONS_A_JOB])}
        for start in range(0, len(ids), SESSIONS_A_JOB)
    ]
    await later.batch_defer_async(*portions)
