"""Bringing the schema to where this version needs it; `coach migrate` calls it.

One transaction and one advisory lock around all steps: of several migrators that start at once the
first does the work, and a step that fails leaves everything as it was.

A step builds before it drops, so that reading goes on meanwhile. Of several steps taken at once,
what the first drops keeps readers off while the next build.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import Connection, NullPool, create_engine, text

from persistence.database import conninfo, translated
from persistence.errors import RoleUnknownError, SchemaNewerError

_MIGRATIONS = Path(__file__).parents[1] / "migrations"
_LOCK = 0x636F616368_01
"""`coach`, and a number: what else takes advisory locks in this database takes another."""

_GRANTS = (
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
    "REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {role}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role}",
)


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema to `revision`; blocks while another does the same.

    Raises SchemaNewerError where it is at a revision that this version does not have.
    """
    with connected(url) as db:
        _require_known_schema(db)
        command.upgrade(_config(db), revision)


def downgrade(url: str, revision: str) -> None:
    """Take the schema back to `revision`, `base` for an empty one; what it held is gone."""
    with connected(url) as db:
        command.downgrade(_config(db), revision)


def grant(url: str, role: str) -> None:
    """Let `role` run workers and the API: it reads and writes rows, and changes no schema.

    To be given again after each `upgrade` that made tables. Raises RoleUnknownError.
    """
    with translated(), psycopg.connect(conninfo(url, "migrate")) as db:
        if db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
            raise RoleUnknownError
        found = db.execute("SELECT current_schema()").fetchone()
        names = {
            "schema": sql.Identifier(found[0] if found else "public"),
            "role": sql.Identifier(role),
        }
        for statement in _GRANTS:
            db.execute(sql.SQL(statement).format(**names))


@cache
def head() -> str:
    """Return the revision that this version needs."""
    revision = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    if revision is None:
        raise RuntimeError("this installation has no migrations")
    return revision


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Give a transaction in which this process alone migrates; it is committed at the end."""
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(conninfo(url, "migrate")),
        poolclass=NullPool,
        hide_parameters=True,
    )
    with translated(), engine.begin() as db:
        db.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        yield db


def _require_known_schema(db: Connection) -> None:
    known = {step.revision for step in ScriptDirectory(str(_MIGRATIONS)).walk_revisions()}
    if not set(MigrationContext.configure(db).get_current_heads()) <= known:
        raise SchemaNewerError


def _config(db: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = db
    return config
