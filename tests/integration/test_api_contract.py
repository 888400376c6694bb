"""What OpenAPI says of the API and what the API does are the same, whatever is sent to it."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from uuid import UUID

import hypothesis
import psycopg
import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance
from serving import START, add_session, add_turns, add_user, settings

from agent.api.app import create_app
from agent.api.auth import COOKIE, csrf_token
from agent.local.livekit_server import LiveKitServer
from persistence import database, keys
from persistence.keys import NewKey

UNFIT = [
    ignored_auth,  # takes a good key beside a bad one in another header for no key
    positive_data_acceptance,  # a cursor, or an id that exists, cannot be described
]
A_FEW = 8
"""Cases of each route, right ones and as many wrong ones, in every run."""
MANY = 10_000
EVERY_SCOPE = ["admin", "coach", "client", "internal"]


class Served(uvicorn.Server):
    """The API on a port of its own, in a thread."""

    def __init__(self, database_url: str, livekit: LiveKitServer) -> None:
        endless = 10**9
        self.app = create_app(
            settings(
                database_url,
                livekit,
                api_key_requests_per_minute=endless,
                api_address_requests_per_minute=endless,
            )
        )
        super().__init__(uvicorn.Config(self.app, port=0, log_config=None, access_log=False))
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @property
    def url(self) -> str:
        port = self.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"


@dataclass
class Described:
    schema: schemathesis.schemas.BaseSchema
    callers: dict[str, dict[str, str]]
    """The headers of whoever may call, by who that is."""
    sessions: list[UUID]
    """Some that have ended."""
    http: requests.Session
    tried: int = 0
    statuses: Counter[int] = field(default_factory=Counter)


async def make_callers(db: psycopg.AsyncConnection[Any]) -> dict[str, dict[str, str]]:
    """Return a caller in every state in which one may be."""

    async def key(*scopes: str, **more: Any) -> str:
        made = keys.generate()
        await keys.create(db, made, NewKey("test", list(scopes), **more))
        return made

    revoked, cookie = await key(*EVERY_SCOPE), await key(*EVERY_SCOPE, identity="client-ada")
    found = await keys.find(db, revoked)
    assert found
    await keys.revoke(db, found.id)
    signed_in = {"Cookie": f"{COOKIE}={cookie}"}
    return {
        "nobody": {},
        "unknown": {"X-API-Key": keys.generate()},
        "nonsense": {"Authorization": "Bearer nonsense"},
        "expired": {"X-API-Key": await key(*EVERY_SCOPE, lifetime=timedelta(seconds=-1))},
        "revoked": {"X-API-Key": revoked},
        "all": {"Authorization": f"Bearer {await key(*EVERY_SCOPE, identity='client-ada')}"},
        "admin": {"Authorization": f"Bearer {await key('admin')}"},
        "coach": {"X-API-Key": await key("coach", identity="coach-carl")},
        "client": {"X-API-Key": await key("client", identity="client-ada", rooms=["demo"])},
        "internal": {"X-Internal-Service-Key": await key("internal")},
        "cookie": signed_in | {"X-CSRF-Token": csrf_token(cookie)},
        "cookie alone": signed_in,
    }


async def make_sessions(db: psycopg.AsyncConnection[Any]) -> list[UUID]:
    """Return ended sessions; there are active ones beside them, for several pages of a list."""
    await db.execute(
        "INSERT INTO sessions (id, status, started_at)"
        " SELECT gen_random_uuid(), 'active', now() FROM generate_series(1, 120)"
    )
    ada, carl = await add_user(db, "client-ada"), await add_user(db, "coach-carl", role="coach")
    spoken = await add_session(db, user_id=ada, coach_id=carl, room_name="demo")
    said = {"text": "I slept <b>well</b>.", "speaker_identity": "client-ada", "confidence": 0.9}
    await add_turns(db, spoken, [said, {"text": "Good.", "role": "ai", "interrupted": True}])
    imported = await add_session(
        db, user_id=ada, legacy_transcript="ai: Yes?\nclient: I slept well.", started_at=START
    )
    return [spoken, imported]


async def made(url: str) -> tuple[dict[str, dict[str, str]], list[UUID]]:
    async with await database.connect(url, "test") as db:
        sessions = await make_sessions(db)
        return await make_callers(db), sessions


@pytest.fixture
def described(database_url: str, livekit: LiveKitServer) -> Iterator[Described]:
    callers, sessions = asyncio.run(made(database_url))
    server = Served(database_url, livekit)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.listening.wait(30)
        schema = schemathesis.openapi.from_dict(server.app.openapi())
        schema.config.update(base_url=server.url)
        schema.config.generation.update(with_security_parameters=False)
        refused = schema.config.checks.negative_data_rejection
        refused.expected_statuses = [*refused.expected_statuses, "413"]
        with requests.Session() as http:
            # who calls is said with each call: what a sign-in set is not sent with the next
            http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            yield Described(schema, callers, sessions, http)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def try_all(described: Described, each: int, seed: int) -> None:
    """Send `each` requests as described to every route, and as many that are wrong somewhere."""
    for found in described.schema.get_all_operations():
        assert isinstance(found, Ok)
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            try_one(described, found.ok(), mode, each, seed)


def try_one(
    described: Described, operation: Any, mode: GenerationMode, each: int, seed: int
) -> None:
    known = [None, *described.sessions] if mode is GenerationMode.POSITIVE else [None]

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=each,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(
        case=operation.as_strategy(generation_mode=mode),
        caller=st.sampled_from(sorted(described.callers)),
        session=st.sampled_from(known),
    )
    def answers_as_described(
        case: schemathesis.Case[Any], caller: str, session: UUID | None
    ) -> None:
        if session and "sessionId" in case.path_parameters:
            case.path_parameters["sessionId"] = str(session)
        answer = case.call(session=described.http, headers=described.callers[caller])
        described.tried += 1
        described.statuses[answer.status_code] += 1
        case.validate_response(answer, excluded_checks=UNFIT)

    try:
        answers_as_described()
    except hypothesis.errors.Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "nothing can be wrong where nothing is sent"


def test_every_answer_is_one_that_the_description_names(described: Described) -> None:
    """Requests as described, and ones that are wrong in each of their parts, by every caller."""
    try_all(described, A_FEW, seed=0)
    assert described.tried > A_FEW * 20
    assert described.statuses.keys() >= {200, 201, 400, 401, 403, 404}, "all that can be met"


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_ten_thousand_requests_are_answered_as_described(described: Described) -> None:
    rounds = 0
    while described.tried < MANY:
        try_all(described, 50, seed=rounds)
        rounds += 1
        answered = dict(sorted(described.statuses.items()))
        sys.stdout.write(f"{described.tried} requests, answered {answered}\n")
    assert described.statuses.keys() >= {200, 201, 204, 400, 401, 403, 404, 409}
