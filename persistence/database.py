"""The way to Postgres: connections that wait for nothing for ever, errors in the project's words.

A network may swallow what is sent and close nothing. Where packets get lost, TCP notices within
30 s. Where something acknowledges them that does not pass them on (a load balancer whose backend
hangs) only a limit on the wait for an answer notices: `BoundedConnection` has one. Postgres in its
turn gives up who is gone, so that a dead connection's locks do not outlive it by more than 20 s.

psycopg where speed counts, SQLAlchemy for ordinary queries, both from one URL. Whatever a driver
says of an error may quote the data that caused it, so nothing of that is passed on: an error is its
class and its SQLSTATE.

SQLAlchemy and Alembic are loaded where they are used: a worker, of which there may be many on a
machine, needs neither, and is 25 MB lighter.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import psycopg_pool
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from psycopg.pq.abc import PGconn
from psycopg.waiting import Wait
from pydantic import ValidationError

import migrations
from persistence.errors import (
    DatabaseRefusedError,
    DatabaseUnavailableError,
    PersistenceError,
    SchemaOutdatedError,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Answer = TypeVar("Answer")

CONNECT_SECONDS = 5
POOL_SECONDS = 5.0
"""How long a caller waits for a connection of the pool."""
CHECK_SECONDS = 2.0
"""How long one has to show there that it works; else another one is tried."""
FRESH_SECONDS = 1.0
"""One that did so, or answered anything, less long ago is not asked again: under load that would be
every other question. What it is asked next then waits as if the connection had been in use."""
ANSWER_SECONDS = 35.0
"""How long an answer is waited for: somewhat longer than Postgres works on a statement."""

_NETWORK = {
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_SESSION = {
    "statement_timeout": "30s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "20s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    # journals go once Postgres has said "committed": it must not take that back after a crash
    "synchronous_commit": "on",
    "timezone": "UTC",
}
_SETTINGS = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', false)" for name, value in _SESSION.items()
)

_UNAVAILABLE_CLASSES = ("08", "25", "53", "57", "58")
"""No connection, read-only, no resources, an operator's intervention, a system error."""
STATEMENT_TIMED_OUT = "57014"
_NOT_LET_IN = re.compile("authentication failed|does not exist|pg_hba|no password|permitted to log")
"""In libpq's words, where there is no SQLSTATE; those of another language stay unexplained."""
_REFUSED_CLASSES = ("22", "23")
_CLIENT_SIDE = "22000"
"""What the driver itself refuses, for example a NUL in a text, never got a SQLSTATE."""
_OTHER_SCHEMA = ("42P01", "42703", "3F000", "42704", "42883")
"""No such table, column, schema, type or function."""


class BoundedConnection(AsyncConnection[tuple[Any, ...]]):
    """A connection that is cut where an answer takes too long: whoever waits for it then fails.

    Cancelling the wait instead would take another 10 s, in which the driver asks Postgres, over a
    second connection, to stop.
    """

    answer_seconds = ANSWER_SECONDS
    _answered_at = -math.inf
    """By the monotonic clock."""

    @property
    def is_fresh(self) -> bool:
        """Whether it answered a moment ago, and nothing was said on it since: it may be cut."""
        if time.monotonic() - self._answered_at >= FRESH_SECONDS:
            return False
        return not select.select([self.fileno()], [], [], 0)[0]

    async def wait(self, gen: PQGen[Answer], *how: Any, **more: Any) -> Answer:
        """Return the answer, as the driver's own; raises OperationalError if there is none."""
        timer = asyncio.get_running_loop().call_later(self.answer_seconds, self._cut)
        try:
            answer = await super().wait(gen, *how, **more)
        finally:
            timer.cancel()
        self._answered_at = time.monotonic()
        return answer

    def _cut(self) -> None:
        with (
            contextlib.suppress(psycopg.Error, OSError),
            socket.socket(fileno=os.dup(self.fileno())) as theirs,
        ):
            theirs.shutdown(socket.SHUT_RDWR)


def normalised(url: str) -> str:
    """Return the URL as libpq takes it: `postgres://` and a named driver become `postgresql://`."""
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgres", "postgresql"):
        raise ValueError("a database URL begins with postgresql://")
    return f"postgresql://{rest}"


def conninfo(url: str, name: str) -> str:
    """Return libpq's connection string; `name` is what Postgres shows as the application."""
    return make_conninfo(
        normalised(url),
        application_name=f"voice-coach {name}",
        connect_timeout=CONNECT_SECONDS,
        **_NETWORK,
    )


async def connect(
    url: str, name: str, *, answer_seconds: float = ANSWER_SECONDS
) -> BoundedConnection:
    """Return a connection of its own, in autocommit: transactions are opened where they belong."""
    db = await BoundedConnection.connect(conninfo(url, name), autocommit=True)
    db.answer_seconds = answer_seconds
    try:
        await db.execute(_SETTINGS)
    except BaseException:
        await db.close()
        raise
    return db


async def sent(db: AsyncConnection[Any]) -> None:
    """Return once all that was asked in a pipeline is on its way to Postgres."""
    await db.wait(_sending(db.pgconn))


def _sending(connection: PGconn) -> PQGen[None]:
    while connection.flush():
        yield Wait.W


Pool = psycopg_pool.AsyncConnectionPool[BoundedConnection]


def pool(url: str, name: str, *, max_size: int = 8) -> Pool:
    """Return a pool, not yet open: `async with` it. Its connections are as those of `connect`."""
    return psycopg_pool.AsyncConnectionPool(
        conninfo(url, name),
        connection_class=BoundedConnection,
        kwargs={"autocommit": True},
        min_size=1,
        max_size=max_size,
        timeout=POOL_SECONDS,
        max_idle=300,
        reconnect_timeout=30,
        configure=_configure,
        check=_check,
        open=False,
        name=f"coach-{name}",
    )


async def _configure(db: BoundedConnection) -> None:
    await db.execute(_SETTINGS)


async def _check(db: BoundedConnection) -> None:
    if db.is_fresh:
        return
    db.answer_seconds = CHECK_SECONDS
    await db.execute("")
    db.answer_seconds = ANSWER_SECONDS


def engine(url: str, name: str, *, max_size: int = 8) -> AsyncEngine:
    """Return SQLAlchemy's engine; parameters stay out of its logs and its errors."""
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 see the module

    async def connected(*_: Any, **__: Any) -> BoundedConnection:
        db = await connect(url, name)
        await db.set_autocommit(False)
        return db

    return create_async_engine(
        "postgresql+psycopg://",
        async_creator=connected,
        hide_parameters=True,
        pool_size=max_size,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=True,
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn what a driver raises inside into the project's own errors, without what it quotes."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (psycopg.Error, *_alchemys("DBAPIError", "TimeoutError"))):
            raise translation(error) from None
        raise


def translation(error: Exception) -> PersistenceError:
    """Return the project's error for one of a driver's."""
    original = getattr(error, "orig", None) or error
    sqlstate = getattr(original, "sqlstate", None)
    if sqlstate in _OTHER_SCHEMA:
        return SchemaOutdatedError()
    if unavailable(original):
        detail = f": SQLSTATE {sqlstate}" if sqlstate else ""
        if not sqlstate and _NOT_LET_IN.search(str(original)):
            detail = ": it answers, and refuses the role, password or database of DATABASE_URL"
        return DatabaseUnavailableError(f"Postgres cannot be reached{detail}")
    return DatabaseRefusedError(sqlstate, constraint_of(original))


def unavailable(error: BaseException) -> bool:
    """Return whether the database as a whole is what fails, not the one statement."""
    sqlstate: str | None = getattr(error, "sqlstate", None)
    if sqlstate is not None:
        return sqlstate.startswith(_UNAVAILABLE_CLASSES) and sqlstate != STATEMENT_TIMED_OUT
    return isinstance(
        error,
        (
            psycopg.OperationalError,
            psycopg.InterfaceError,
            OSError,
            *_alchemys("TimeoutError"),
        ),
    )


def _alchemys(*names: str) -> tuple[type[Exception], ...]:
    """Return SQLAlchemy's errors; none before somebody has loaded it, who alone can meet them."""
    errors = sys.modules.get("sqlalchemy.exc")
    return tuple(getattr(errors, name) for name in names) if errors else ()


def refused_as_data(error: BaseException) -> str | None:
    """Return the SQLSTATE if Postgres, or the driver before it, refuses the row as data."""
    sqlstate: str | None = getattr(error, "sqlstate", None)
    if sqlstate is None:
        is_data = isinstance(error, psycopg.DataError | UnicodeError | ValidationError)
        return _CLIENT_SIDE if is_data else None
    return sqlstate if sqlstate.startswith(_REFUSED_CLASSES) else None


def constraint_of(error: BaseException) -> str | None:
    """Return the name of the constraint that refused, if it was one."""
    return error.diag.constraint_name if isinstance(error, psycopg.Error) else None


async def require_current_schema(db: AsyncConnection[Any]) -> None:
    """Raise SchemaOutdatedError unless the database has the schema of this version."""
    with translated():
        found = await db.execute("SELECT version_num FROM alembic_version")
        revisions = {row[0] for row in await found.fetchall()}
    if revisions != {migrations.HEAD}:
        raise SchemaOutdatedError
