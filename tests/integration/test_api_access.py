"""Every route of the API and everybody who may call it: a route without a line here is a failure.

A line says what each caller is answered; whoever it does not name is refused with 403. Without a
good key every route answers 401, the public ones apart. What somebody may not read is not there
for them: 404, and nothing of it in any list.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from serving import Api, add_session, add_turns, add_user, settings

from agent.api.app import create_app
from agent.api.auth import COOKIE, csrf_token
from persistence import keys

HIDDEN = "Zaphodiana"
"""Whose session it is, and what was said in it: strangers read that nowhere."""
OTHERS = ("another coach", "another client")
CALLERS = ("nothing", "internal", "another client", "another coach", "client", "coach", "admin")
"""By what they may do; who may least is first, so that nothing is done yet when they try."""
BAD_KEYS = ("none", "unknown", "expired", "revoked")


@dataclass(frozen=True)
class Line:
    answers: dict[str, int]
    body: dict[str, Any] | None = None
    public: bool = False


def only(answers: dict[str, int], body: dict[str, Any] | None = None) -> Line:
    return Line(answers, body)


def public(status: int, body: dict[str, Any] | None = None) -> Line:
    return Line(dict.fromkeys(CALLERS, status), body, public=True)


ADMIN = only({"admin": 200})
LISTED = only({"admin": 200, "coach": 200, "client": 200, **dict.fromkeys(OTHERS, 200)})
OWNED = only({"admin": 200, "coach": 200, "client": 200, **dict.fromkeys(OTHERS, 404)})
NO_LIVEKIT = 503
"""Let in, as far as the LiveKit server, which these tests do without."""
MAKERS = ("internal", "coach", "admin")
START = "2026-11-20T09:00:00Z"

ROUTES = {
    "get /livez": public(200),
    "get /readyz": public(200),
    "post /api/sign-in": public(401, {"key": "vck_none"}),
    "post /api/sign-out": public(204),
    "get /metrics": only({"admin": 200, "internal": 200}),
    "get /api/me": only({caller: 200 for caller in CALLERS if caller != "nothing"}),
    "get /api/admin/health": ADMIN,
    "get /api/admin/metrics": ADMIN,
    "get /api/admin/users": ADMIN,
    "get /api/admin/coaches": ADMIN,
    "get /api/admin/processes": ADMIN,
    "get /api/admin/transcripts": LISTED,
    "get /api/admin/transcripts/{sessionId}": OWNED,
    "get /api/admin/transcripts/{sessionId}/export": OWNED,
    "get /api/admin/transcripts/{sessionId}/events": OWNED,
    "post /api/sessions/{sessionId}/rating": only(
        {"client": 201, "another client": 404}, {"rating": 5}
    ),
    "post /api/rooms/create": only(dict.fromkeys(MAKERS, NO_LIVEKIT), {"roomName": "demo"}),
    "post /api/livekit/token": only(
        {"client": 201, "another client": 403, "coach": 201, "another coach": 403},
        {"room_name": "demo"},
    ),
    "post /api/internal/sync-runs": only({"internal": 201}, {"finishedAt": START, "success": True}),
    "post /api/internal/sessions": only({"internal": 201}, {"roomName": "r", "startedAt": START}),
    "post /api/internal/sessions/{sessionId}/transcript": only({"internal": 201}, {"turns": []}),
}


def described() -> set[str]:
    paths = create_app(settings("postgresql://nobody/none")).openapi()["paths"]
    return {f"{method} {path}" for path, methods in paths.items() for method in methods}


def test_every_route_has_a_line() -> None:
    assert set(ROUTES) == described()


@dataclass
class World:
    """A session of a client and their coach, and keys of whom there is."""

    api: Api
    session: UUID
    keys: dict[str, str]

    async def ask(self, route: str, headers: dict[str, str]) -> Any:
        method, _, path = route.partition(" ")
        return await self.api.http.request(
            method,
            path.replace("{sessionId}", str(self.session)),
            headers=headers,
            json=ROUTES[route].body,
        )


@pytest.fixture
async def world(api: Api) -> World:
    people = {
        identity: await add_user(api.db, identity, role=role, display_name=name)
        for identity, role, name in (
            ("client-ada", "client", HIDDEN),
            ("client-bob", "client", "Bob"),
            ("coach-carl", "coach", "Carl"),
            ("coach-dora", "coach", "Dora"),
        )
    }
    session = await add_session(
        api.db, user_id=people["client-ada"], coach_id=people["coach-carl"], room_name="demo"
    )
    await add_turns(api.db, session, [{"text": HIDDEN, "speaker_identity": "client-ada"}])
    # who may call at all, may do so for the room `demo` or for one of their own
    made = {
        "nothing": await api.key(),
        "internal": await api.key("internal"),
        "client": await api.key("client", identity="client-ada", rooms=["demo"]),
        "another client": await api.key("client", identity="client-bob", rooms=["other"]),
        "coach": await api.key("coach", identity="coach-carl"),
        "another coach": await api.key("coach", identity="coach-dora", rooms=["other"]),
        "admin": await api.key("admin"),
        "unknown": keys.generate(),
        "expired": await api.key(*SCOPES, lifetime=timedelta(seconds=-1)),
        "revoked": await api.key(*SCOPES),
    }
    revoked = await keys.find(api.db, made["revoked"])
    assert revoked
    await keys.revoke(api.db, revoked.id)
    return World(api, session, made)


SCOPES = ("admin", "coach", "client", "internal")


@pytest.mark.parametrize("route", ROUTES)
async def test_each_caller_is_answered_as_the_line_of_the_route_says(
    world: World, route: str
) -> None:
    await _refuse_bad_keys(world, route)
    await _give_services_no_more(world, route)
    line, got = ROUTES[route], {}
    for caller in CALLERS:
        answer = await world.ask(route, {"X-API-Key": world.keys[caller]})
        got[caller] = answer.status_code
        if caller in {*OTHERS, "nothing"}:
            assert HIDDEN not in answer.text
            assert str(world.session) not in answer.text
    assert got == {caller: line.answers.get(caller, 403) for caller in CALLERS}


async def _refuse_bad_keys(world: World, route: str) -> None:
    """Without a good key there is nothing but what is public, wherever the bad one is sent."""
    line, refused = ROUTES[route], set()
    for kind in BAD_KEYS:
        key = world.keys.get(kind, "")
        for headers in (
            {"Authorization": f"Bearer {key}"},
            {"X-API-Key": key},
            {"X-Internal-Service-Key": key},
            {"Cookie": f"{COOKIE}={key}", "X-CSRF-Token": csrf_token(key)},
        ):
            answer = await world.ask(route, headers if key else {})
            refused.add(answer.status_code)
            if not line.public:
                assert set(answer.json()) == {"error", "details"}
                assert "www-authenticate" in answer.headers
    assert refused == ({next(iter(line.answers.values()))} if line.public else {401})


async def _give_services_no_more(world: World, route: str) -> None:
    """The header of services gives what the scope `internal` may do, whatever else a key may."""
    for caller in CALLERS if not ROUTES[route].public else ():
        answer = await world.ask(route, {"X-Internal-Service-Key": world.keys[caller]})
        allowed = ROUTES[route].answers.get(caller, 403) if caller == "internal" else 403
        assert answer.status_code == allowed


CHANGING = [route for route in ROUTES if not route.startswith("get") and not ROUTES[route].public]


@pytest.mark.parametrize("route", CHANGING)
async def test_a_cookie_without_its_token_changes_nothing(world: World, route: str) -> None:
    """Nor with another key's token: the one who is let in is let in by both together."""
    allowed = [caller for caller, status in ROUTES[route].answers.items() if status != 404]
    for caller in allowed:
        key = world.keys[caller]
        cookie = {"Cookie": f"{COOKIE}={key}"}
        assert (await world.ask(route, cookie)).status_code == 403
        for token in ("", csrf_token(world.keys["admin"])):
            if caller != "admin" or not token:
                answer = await world.ask(route, {**cookie, "X-CSRF-Token": token})
                assert answer.status_code == 401
        answer = await world.ask(route, {**cookie, "X-CSRF-Token": csrf_token(key)})
        assert answer.status_code == ROUTES[route].answers[caller]
