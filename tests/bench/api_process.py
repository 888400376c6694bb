"""The API in a process of its own, as `coach api` runs it, for the figures that are its."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from stand import running

from agent.local.processes import Children
from persistence import database, keys
from persistence.keys import NewKey

LISTENING = "api_listening"
NO_LIMIT = "1000000000"


@contextmanager
def served(children: Children, database_url: str) -> Iterator[int]:
    """Serve the API on the database at `database_url` for the block's time; its port."""
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "LIVEKIT_URL": "ws://127.0.0.1:1",
        "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "secret" * 8,
        "COACH_API_KEY_REQUESTS_PER_MINUTE": NO_LIMIT,
        "COACH_API_ADDRESS_REQUESTS_PER_MINUTE": NO_LIMIT,
        "COACH_LOG_FORMAT": "json",
    }
    command = [sys.executable, "-m", "agent.cli", "api", "--port", "0"]
    with running(children, "api", command, LISTENING, environment) as child:
        said = next(line for line in child.output() if LISTENING in line)
        yield int(json.loads(said)["port"])


async def admin_key(database_url: str) -> str:
    """Return a new key of an administrator's."""
    key = keys.generate()
    async with await database.connect(database_url, "bench") as db:
        await keys.create(db, key, NewKey("bench", ["admin"]))
    return key
