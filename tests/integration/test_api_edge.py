"""Keys, errors and limits: what every route of the API has in common."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
import structlog
from serving import Api, add_session, serving, settings
from structlog.testing import capture_logs

from agent.api import bounds
from agent.api.app import create_app
from persistence import keys
from persistence.errors import DatabaseRefusedError, DatabaseUnavailableError, SchemaOutdatedError
from persistence.keys import NewKey

LIST = "/api/admin/transcripts"
TOKEN = "/api/livekit/token"


async def test_no_key_and_an_unknown_one_are_401(api: Api) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {keys.generate()}"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"X-API-Key": "vck_short"},
        {"X-API-Key": "vck_' OR true --"},
        {"X-API-Key": keys.generate().swapcase()},
        {"X-Internal-Service-Key": keys.generate()},
    ):
        answer = await api.http.get(LIST, headers=headers)
        assert answer.status_code == 401, headers
        assert answer.json()["error"] == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"
        sent = any(keys.PREFIX in value.lower() for value in headers.values())
        assert ("unknown" in answer.json()["details"]) is sent


async def test_a_revoked_key_is_401_at_once(api: Api) -> None:
    key = await api.key("admin")
    assert (await api.get(LIST, key)).status_code == 200
    (known,) = await keys.listed(api.db)
    assert await keys.revoke(api.db, known.id)
    assert (await api.get(LIST, key)).status_code == 401


async def test_an_expired_key_is_401(api: Api) -> None:
    key = await api.key("admin", lifetime=timedelta(days=1))
    assert (await api.get(LIST, key)).status_code == 200
    await api.db.execute("UPDATE api_keys SET expires_at = now() - interval '1 second'")
    assert (await api.get(LIST, key)).status_code == 401


@pytest.mark.parametrize("scope", ["coach", "client", "internal"])
async def test_another_scope_is_403(api: Api, scope: str) -> None:
    answer = await api.get("/api/admin/users", await api.key(scope))
    assert answer.status_code == 403
    assert answer.json() == {"error": "forbidden", "details": "this route needs the scope admin"}


async def test_of_an_internal_service_key_only_the_internal_scope_counts(api: Api) -> None:
    key = await api.key("admin", "internal")
    answer = await api.http.get(LIST, headers={"X-Internal-Service-Key": key})
    assert answer.status_code == 403
    made = await api.http.post(
        "/api/rooms/create", headers={"X-Internal-Service-Key": key}, json={}
    )
    assert made.status_code == 503, "allowed, and LiveKit is not there"


async def test_bearer_and_api_key_headers_both_carry_a_key(api: Api) -> None:
    key = await api.key("admin")
    for headers in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
        assert (await api.http.get(LIST, headers=headers)).status_code == 200


async def test_a_key_is_stored_as_its_hash_alone(api: Api) -> None:
    key = await api.key("admin")
    row = await (await api.db.execute("SELECT k::text FROM api_keys k")).fetchone()
    assert row is not None
    assert key not in row[0]
    assert keys.hash_of(key).hex() in row[0]


async def test_the_last_use_is_written_at_most_once_a_minute(api: Api) -> None:
    key = await api.key("admin")

    async def used_after(seconds: int | None) -> bool:
        """Return whether a use changes the last use noted so many seconds ago."""
        await api.db.execute(
            "UPDATE api_keys SET last_used_at = now() - %s * interval '1 second'", (seconds,)
        )
        before = (await keys.listed(api.db))[0].last_used_at
        await api.get(LIST, key)
        return (await keys.listed(api.db))[0].last_used_at != before

    assert await used_after(None)
    assert await used_after(61)
    assert not await used_after(50)


async def test_a_key_is_linked_to_the_user_of_its_identity(api: Api) -> None:
    user = uuid4()
    await api.db.execute("INSERT INTO users (id, identity) VALUES (%s, 'client-ada')", (user,))
    await keys.create(api.db, keys.generate(), NewKey("ada", ["client"], "client-ada"))
    assert (await keys.listed(api.db))[0].user_id == user


BAD_BODIES = [
    b"{",
    b"[]",
    b"1",
    b"\xff\xfe",
    b'{"roomName": "a\\u0000b"}',
    b'{"roomName": "\\ud800"}',
    b'{"roomName": "a\\nb"}',
    b'{"roomName": "   "}',
    b'{"roomName": 7}',
    b'{"appointmentId": "not-a-uuid"}',
    b'{"roomName": "' + b"x" * 200 + b'"}',
    b"[" * 10_000,
]


async def test_a_body_that_cannot_be_used_is_400(api: Api) -> None:
    headers = {"X-API-Key": await api.key("admin"), "content-type": "application/json"}
    for body in BAD_BODIES:
        answer = await api.http.post("/api/rooms/create", headers=headers, content=body)
        assert answer.status_code == 400, body[:80]
        assert set(answer.json()) == {"error", "details"}


async def test_half_surrogates_anywhere_in_a_body_are_no_500(api: Api) -> None:
    body = b'{"participant_attributes": {"\\ud800": "\\udfff"}}'
    key = await api.key("client", identity="client-ada", rooms=["demo"])
    headers = {"X-API-Key": key, "content-type": "application/json"}
    answer = await api.http.post(TOKEN, headers=headers, content=body)
    assert answer.status_code in (400, 403)


BAD_QUERIES = [
    "limit=0",
    "limit=201",
    "limit=x",
    "status=gone",
    "cursor=!!",
    "cursor=AAAA",
    "cursor=eA",
    "from=yesterday",
    "from=5.0",
    "text=a%00b",
    "client=%00",
    "text=" + "x" * 501,
    "text=",
]


async def test_a_query_that_cannot_be_used_is_400(api: Api) -> None:
    key = await api.key("admin")
    for query in BAD_QUERIES:
        answer = await api.get(f"{LIST}?{query}", key)
        assert answer.status_code == 400, query
        assert answer.json()["error"] == "bad request"


async def test_a_query_of_broken_encoding_finds_nothing(api: Api) -> None:
    await add_session(api.db)
    assert (await api.get(f"{LIST}?text=%ff%fe", await api.key("admin"))).json() == []


async def test_an_id_that_is_no_uuid_is_400(api: Api) -> None:
    key = await api.key("admin")
    for session_id in ("7", "not-a-uuid", "%00", "0" * 32 + "g"):
        answer = await api.get(f"{LIST}/{session_id}", key)
        assert answer.status_code == 400, session_id
        assert answer.json()["details"][0]["where"] == "path.sessionId"


async def test_errors_never_repeat_what_was_sent(api: Api) -> None:
    secret = "purple-heron"
    body = {"roomName": secret * 20, "appointmentId": secret}
    answer = await api.post("/api/rooms/create", await api.key("admin"), body)
    assert answer.status_code == 400
    assert secret not in answer.text


async def test_an_unknown_path_is_404_and_another_method_405(api: Api) -> None:
    missing = await api.http.get("/api/nothing")
    assert (missing.status_code, missing.json()["error"]) == (404, "not found")
    answer = await api.http.delete(LIST)
    assert (answer.status_code, answer.json()["error"]) == (405, "method not allowed")
    assert answer.headers["allow"] == "GET"


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(100):
        yield b" " * 1024


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_body_over_64_kib_is_413(api: Api, *, streamed: bool) -> None:
    content = chunks() if streamed else b" " * 65537
    headers = {"X-API-Key": await api.key("admin")}
    answer = await api.http.post("/api/rooms/create", headers=headers, content=content)
    assert answer.status_code == 413
    assert set(answer.json()) == {"error", "details"}


async def test_a_body_of_64_kib_is_read(api: Api) -> None:
    headers = {"X-API-Key": await api.key("admin"), "content-type": "application/json"}
    content = b"{}" + b" " * 65534
    answer = await api.http.post("/api/rooms/create", headers=headers, content=content)
    assert answer.status_code == 503


async def test_every_answer_has_an_id_that_its_log_lines_have_too(api: Api) -> None:
    processors = [structlog.contextvars.merge_contextvars]
    with capture_logs(processors=processors) as lines:
        made = await api.http.get("/")
        given = await api.http.get("/", headers={"X-Request-Id": "abc-1"})
        refused = await api.http.get("/", headers={"X-Request-Id": "a b\x7f"})
    ids = [answer.headers["x-request-id"] for answer in (made, given, refused)]
    assert ids[1] == "abc-1"
    assert len(set(ids)) == 3
    assert "a b" not in ids[2]
    assert [line["request_id"] for line in lines if line["event"] == "request"] == ids


async def test_the_log_names_routes_and_neither_paths_nor_queries_nor_keys(api: Api) -> None:
    key = await api.key("admin")
    session = uuid4()
    with capture_logs() as lines:
        await api.get(f"{LIST}/{session}?text=purple-heron", key)
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["method"], line["status"]) == ("GET", 404)
    assert line["route"] == f"{LIST}/{{sessionId}}"
    assert not any(word in str(lines) for word in (str(session), "heron", key))


async def test_a_failure_of_ours_is_a_500_that_says_only_where_to_look(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ValueError("purple heron")

    monkeypatch.setattr("persistence.listing.page", fail)
    with capture_logs() as lines:
        answer = await api.get(LIST, await api.key("admin"))
    assert "request_failed" in [line["event"] for line in lines]
    assert answer.status_code == 500
    assert answer.json()["error"] == "internal server error"
    assert answer.headers["x-request-id"] in answer.json()["details"]
    assert "heron" not in answer.text


@pytest.mark.parametrize("sqlstate", ["55P03", "57014", "40P01"])
async def test_a_lock_that_another_holds_or_a_search_that_takes_too_long_is_503(
    api: Api, monkeypatch: pytest.MonkeyPatch, sqlstate: str
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise DatabaseRefusedError(sqlstate)

    monkeypatch.setattr("persistence.listing.page", refused)
    answer = await api.get(LIST, await api.key("admin"))
    assert answer.status_code == 503
    assert "try again" in answer.json()["details"]


async def test_there_are_no_pages_that_load_from_outside(api: Api) -> None:
    for path in ("/docs", "/redoc"):
        assert (await api.http.get(path)).status_code == 404


async def test_the_description_has_examples_and_names_no_422(api: Api) -> None:
    described = (await api.http.get("/openapi.json")).json()
    assert "422" not in json.dumps(described)
    open_to_all = set()
    for path, methods in described["paths"].items():
        for operation in methods.values():
            if "security" in operation:
                assert {"401", "403", "503"} <= set(operation["responses"]), path
            else:
                open_to_all.add(path)
    assert open_to_all == {"/livez", "/readyz", "/api/sign-in", "/api/sign-out"}
    assert set(described["components"]["securitySchemes"]) == {
        "Bearer",
        "ApiKey",
        "InternalServiceKey",
        "Cookie",
    }
    for shape in ("Health", "Session", "Message", "WantedRoom", "MadeRoom", "Token"):
        assert described["components"]["schemas"][shape]["examples"]


async def test_an_old_schema_keeps_the_api_from_starting(database_url: str) -> None:
    with psycopg.connect(database_url) as db:
        db.execute("UPDATE alembic_version SET version_num = 'older'")
    with pytest.raises(SchemaOutdatedError, match="coach migrate"):
        async with serving(settings(database_url)):
            pass


async def test_an_empty_database_keeps_the_api_from_starting(empty_database_url: str) -> None:
    with pytest.raises(SchemaOutdatedError):
        async with serving(settings(empty_database_url)):
            pass


async def test_without_postgres_the_api_does_not_start() -> None:
    app = create_app(settings("postgresql://nobody@127.0.0.1:1/nothing"))
    with pytest.raises(DatabaseUnavailableError):
        async with app.router.lifespan_context(app):
            pass


async def gone(api: Api) -> None:
    """Take the database away, as far as the API can see."""
    await api.app.state.resources.pool.close()


async def test_with_postgres_away_known_callers_get_in_and_others_get_503(api: Api) -> None:
    known = await api.key("client", identity="client-ada", rooms=["demo"])
    stranger = await api.key("client", identity="client-bob", rooms=["demo"])
    assert (await api.post(TOKEN, known)).status_code == 201
    await gone(api)
    assert (await api.post(TOKEN, known)).status_code == 201
    for key in (stranger, keys.generate()):
        answer = await api.post(TOKEN, key)
        assert answer.status_code == 503
        assert answer.json()["error"] == "service unavailable"


async def test_with_postgres_away_a_caller_is_not_remembered_past_the_keys_expiry(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await api.key(
        "client", identity="client-ada", rooms=["demo"], lifetime=timedelta(hours=1)
    )
    assert (await api.post(TOKEN, key)).status_code == 201
    await gone(api)
    monkeypatch.setattr("agent.api.auth._expired", lambda _: True)
    assert (await api.post(TOKEN, key)).status_code == 503


async def test_transcripts_are_503_while_postgres_is_away(api: Api) -> None:
    key = await api.key("admin")
    assert (await api.get(LIST, key)).status_code == 200
    await gone(api)
    answer: httpx2.Response = await api.get(LIST, key)
    assert answer.status_code == 503


async def test_a_key_that_calls_too_often_is_429_and_told_when_to_come_back(
    database_url: str,
) -> None:
    limited = settings(database_url, api_key_requests_per_minute=3)
    async with serving(limited) as api:
        tired, fresh = await api.key("admin"), await api.key("admin")
        assert [(await api.get(LIST, tired)).status_code for _ in range(3)] == [200] * 3
        answer = await api.get(LIST, tired)
        assert answer.status_code == 429
        assert answer.json()["error"] == "too many requests"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert (await api.get(LIST, fresh)).status_code == 200, "each key for itself"


async def test_an_address_that_calls_too_often_is_429_before_its_key_is_looked_at(
    database_url: str,
) -> None:
    limited = settings(database_url, api_address_requests_per_minute=2)
    async with serving(limited) as api:
        for _ in range(2):
            assert (await api.http.get(LIST)).status_code == 401
        assert (await api.get(LIST, await api.key("admin"))).status_code == 429


async def test_answers_are_no_page_to_a_browser(api: Api) -> None:
    for path in ("/", LIST, "/nowhere"):
        headers = (await api.http.get(path)).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"


BOARD = "https://board.example"


@pytest.fixture
async def named(database_url: str) -> AsyncIterator[Api]:
    """The API, which pages of one other site may call."""
    async with serving(settings(database_url, api_origins=BOARD)) as api:
        yield api


async def preflight(api: Api, origin: str, **asked: str) -> httpx2.Response:
    wanted = {"method": "GET", "headers": "x-api-key"} | asked
    headers = {f"Access-Control-Request-{name}": value for name, value in wanted.items()}
    return await api.http.options(LIST, headers={"Origin": origin, **headers})


async def test_pages_of_named_sites_may_call_and_others_may_not(named: Api) -> None:
    for origin, allowed in ((BOARD, True), ("https://evil.example", False)):
        answer = await preflight(named, origin)
        found = answer.headers.get("access-control-allow-origin")
        assert found == (origin if allowed else None)
        assert answer.status_code == (200 if allowed else 403)


@pytest.mark.parametrize(
    ("origin", "asked"),
    [("https://evil.example", {}), (BOARD, {"method": "DELETE"}), (BOARD, {"headers": "x-other"})],
)
async def test_a_page_that_may_not_call_is_told_so_as_of_any_error(
    named: Api, origin: str, asked: dict[str, str]
) -> None:
    answer = await preflight(named, origin, **asked)
    assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
    assert answer.json()["details"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]


async def test_a_page_of_a_named_site_can_read_every_error(
    named: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong before a route is come to, in one, and by its taking too long."""

    async def fail() -> None:
        raise ValueError

    monkeypatch.setattr(bounds, "REQUEST_SECONDS", 0.5)
    named.app.add_api_route("/never", asyncio.Event().wait)
    named.app.add_api_route("/fails", fail)
    asked = {"Origin": BOARD}
    answers = {
        401: await named.http.get(LIST, headers=asked),
        404: await named.http.get("/nowhere", headers=asked),
        413: await named.http.post(TOKEN, headers=asked, content=b" " * 65537),
        500: await named.http.get("/fails", headers=asked),
        503: await named.http.get("/never", headers=asked),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == BOARD
        assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
        assert answer.headers["x-request-id"]
        assert set(answer.json()) == {"error", "details"}


async def test_a_body_that_breaks_off_is_no_request(api: Api) -> None:
    said: list[object] = []
    messages = iter(
        [
            {"type": "http.request", "body": b"{}", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> Any:
        return next(messages)

    async def send(message: object) -> None:
        said.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/rooms/create",
        "query_string": b"",
        "headers": [(b"x-api-key", (await api.key("internal")).encode())],
        "client": ("192.0.2.1", 1),
    }
    await api.app(scope, receive, send)
    assert said == []


@pytest.mark.parametrize("origins", ["*", "board.example", "https://board.example/page"])
def test_what_is_no_site_is_refused_as_a_setting(origins: str) -> None:
    with pytest.raises(ValueError, match="api_origins"):
        settings("postgresql://localhost/none", api_origins=origins)
