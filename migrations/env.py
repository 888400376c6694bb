"""Alembic's environment: on the connection that `persistence.migrate` gives.

`uv run alembic revision --autogenerate -m "…"` drafts the next migration against `DATABASE_URL`.
"""

from __future__ import annotations

import os
from typing import Any

from alembic import context
from sqlalchemy import Connection

from persistence import migrate
from persistence.schema import metadata


def of_this_project(thing: Any, name: str | None, *_: object) -> bool:
    """Return whether Alembic should compare `thing`: Procrastinate's tables are not modelled."""
    del thing
    return not (name or "").startswith(("procrastinate_", "idx_procrastinate_"))


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=of_this_project,
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with migrate.connected(os.environ["DATABASE_URL"]) as own:
        run(own)
