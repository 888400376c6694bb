"""What every test stands on: an environment without the developer's, and a real Postgres.

The server is the suite's own, on new data: suites that run at once do not meet, and it ends with
this process, however that ends. A migrated template is made once; each test gets a clone of it.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import psycopg
import pytest
from databases import at, fresh_database
from local_deployment import deployment, served
from local_livekit import livekit
from local_toxiproxy import toxiproxy_server
from missing import give_up
from small_disks import mount, small_disk

from agent.local import postgres
from agent.settings import Settings

pytest_plugins = ["forgotten"]

__all__ = ["deployment", "livekit", "mount", "served", "small_disk", "toxiproxy_server"]

THE_DEVELOPERS_OWN = re.compile(
    r"(LIVEKIT|OPENAI|DEEPGRAM|COACH|PG)\w*|DATABASE_URL|(HTTPS?|ALL|NO|WSS?|FTP)_PROXY",
    re.IGNORECASE,
)


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if THE_DEVELOPERS_OWN.fullmatch(name)]:
        del os.environ[name]
    Settings.model_config["env_file"] = None
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # as a shell starts what is in its background: what tests start would not hear a Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server for the suite, fast and forgetful; tests take `database_url` instead."""
    try:
        server = postgres.start_temporary()
    except postgres.PostgresMissingError as missing:
        give_up(str(missing))
    with server:
        yield server.url


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> str:
    """The name of a migrated database that nobody is connected to."""
    from persistence import migrate  # noqa: PLC0415 tests without a database do without Alembic

    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute("CREATE DATABASE coach_template")
    migrate.upgrade(at(postgres_url, "coach_template"))
    return "coach_template"


@pytest.fixture
def database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    yield from fresh_database(postgres_url, template_database)


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database of this test's own with nothing in it."""
    yield from fresh_database(postgres_url, "template1")
