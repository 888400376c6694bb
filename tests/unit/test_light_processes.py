"""What the processes of a worker load: there are many of them, and each pays for itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

import migrations
from persistence import migrate


def loaded_by(module: str) -> set[str]:
    """Return the names of all modules that importing `module` loads, in a process of its own."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("agent.worker.job", {"psycopg", "sqlalchemy", "sqlmodel", "alembic", "procrastinate"}),
        ("agent.worker.job", {"typer", "fastapi", "uvicorn"}),
        ("agent.worker.server", {"sqlalchemy", "sqlmodel", "alembic", "fastapi", "uvicorn"}),
        ("agent.worker.server", {"livekit.plugins.openai", "agent.worker.voice", "typer"}),
    ],
)
def test_a_process_loads_nothing_that_it_does_not_use(module: str, unwanted: set[str]) -> None:
    """A job holds no connection to a database; a worker ships over psycopg alone."""
    assert loaded_by(module) & unwanted == set()


def test_the_schema_that_workers_ask_for_is_the_newest_step() -> None:
    assert migrate.head() == migrations.HEAD
