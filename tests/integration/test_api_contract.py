"""What OpenAPI says of the API and what the API does are the same, whatever is sent to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import hypothesis
import psycopg
import pytest
import schemathesis
import uvicorn
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance
from serving import settings

from agent.api.app import create_app
from agent.local.livekit_server import LiveKitServer
from persistence import database, keys
from persistence.keys import NewKey

UNFIT = [
    ignored_auth,  # takes a good key beside a bad one in another header for no key
    positive_data_acceptance,  # a cursor, or an id that exists, cannot be described
]
CASES = 20
"""Of each route, right ones and as many wrong ones."""


class Served(uvicorn.Server):
    """The API on a port of its own, in a thread."""

    def __init__(self, database_url: str, livekit: LiveKitServer) -> None:
        self.app = create_app(settings(database_url, livekit))
        super().__init__(uvicorn.Config(self.app, port=0, log_config=None, access_log=False))
        self.listening = threading.Event()

    async def startup(self, sockets: list[object] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @property
    def url(self) -> str:
        port = self.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"


@dataclass
class Described:
    schema: schemathesis.schemas.BaseSchema
    key: str
    """It opens every route."""


async def make_key(url: str) -> str:
    key = keys.generate()
    async with await database.connect(url, "test") as db:
        await keys.create(db, key, NewKey("test", ["admin", "coach"], "coach-carl"))
    return key


@pytest.fixture
def described(database_url: str, livekit: LiveKitServer) -> Iterator[Described]:
    key = asyncio.run(make_key(database_url))
    with psycopg.connect(database_url) as db:
        db.execute(
            "INSERT INTO sessions (id, status, started_at) "
            "SELECT gen_random_uuid(), 'active', now() FROM generate_series(1, 120)"
        )
    server = Served(database_url, livekit)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.listening.wait(30)
        schema = schemathesis.openapi.from_dict(server.app.openapi())
        schema.config.update(base_url=server.url)
        yield Described(schema, key)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def test_every_answer_is_one_that_the_description_names(
    described: Described,
) -> None:
    """Requests as described, and ones that are wrong in each of their parts."""
    tried = 0
    for found in described.schema.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:

            @hypothesis.settings(max_examples=CASES, deadline=None, derandomize=True, database=None)
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def answers_as_described(case: schemathesis.Case) -> None:
                nonlocal tried
                tried += 1
                case.call_and_validate(
                    headers={"X-API-Key": described.key},
                    excluded_checks=UNFIT,
                )

            try:
                answers_as_described()
            except hypothesis.errors.Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE, "nothing can be wrong where nothing is sent"
    assert tried >= CASES * 5
