"""Signing in from a browser: a cookie that no script reads, and that alone changes nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from serving import Api, add_session, add_user, serving, settings

from agent.api import bounds, readiness
from agent.api.auth import COOKIE, csrf_token
from persistence import keys

SIGN_IN, ME = "/api/sign-in", "/api/me"


async def sign_in(api: Api, key: str, base: str = "") -> Any:
    """Sign in, and keep the cookie out of the client's own jar: each test sends what it means."""
    answer = await api.http.post(f"{base}{SIGN_IN}", json={"key": key})
    api.http.cookies.clear()
    return answer


def cookie_of(answer: Any) -> Any:
    return SimpleCookie(answer.headers["set-cookie"])[COOKIE]


async def test_a_key_signs_a_browser_in_by_a_cookie_that_no_script_can_read(api: Api) -> None:
    key = await api.key("client", identity="client-ada", rooms=["demo"])
    answer = await sign_in(api, key)
    cookie = cookie_of(answer)
    assert (cookie.value, cookie["httponly"], cookie["samesite"]) == (key, True, "strict")
    assert not cookie["secure"], "over plain HTTP a browser would drop it"
    me = answer.json()
    assert (me["identity"], me["scopes"], me["rooms"]) == ("client-ada", ["client"], ["demo"])
    assert me["userId"] is None
    with_cookie = await api.http.get(ME, headers={"Cookie": f"{COOKIE}={key}"})
    assert with_cookie.json() == me


async def test_who_has_a_user_record_is_told_its_id(api: Api) -> None:
    """By which sessions and messages name who is meant."""
    ada = await add_user(api.db, "client-ada")
    me = await api.get(ME, await api.key("client", identity="client-ada"))
    assert me.json()["userId"] == str(ada)


async def test_over_https_the_cookie_goes_nowhere_else(api: Api) -> None:
    answer = await sign_in(api, await api.key("admin"), base="https://coach.test")
    assert cookie_of(answer)["secure"]


async def test_so_does_one_that_a_proxy_passes_on(database_url: str) -> None:
    """By the setting that says where browsers come to, whatever the proxy says."""
    public = settings(database_url, api_public_url="https://coach.example")
    async with serving(public) as api:
        assert cookie_of(await sign_in(api, await api.key("admin")))["secure"]


async def test_a_browser_stays_signed_in_no_longer_than_its_key_lives(api: Api) -> None:
    answer = await sign_in(api, await api.key("admin", lifetime=timedelta(hours=1)))
    assert 3500 < int(cookie_of(answer)["max-age"]) <= 3600


@pytest.mark.parametrize("key", ["", "nonsense", "vck_" + "x" * 43, "vck_\x00", "ü"])
async def test_what_is_no_key_signs_nobody_in(api: Api, key: str) -> None:
    answer = await sign_in(api, key)
    assert answer.status_code in (400, 401)
    assert "set-cookie" not in answer.headers


async def test_a_cookie_alone_reads_but_changes_nothing(api: Api) -> None:
    session = await add_session(api.db, client_identity="client-ada")
    key = await api.key("client", identity="client-ada")
    cookie = {"Cookie": f"{COOKIE}={key}"}
    assert (await api.http.get("/api/admin/transcripts", headers=cookie)).status_code == 200
    rating = f"/api/sessions/{session}/rating"
    other = csrf_token(keys.generate())
    assert (await api.http.post(rating, headers=cookie, json={"rating": 5})).status_code == 403
    for token in ("", other, "ü"):
        headers = {b"Cookie": cookie["Cookie"].encode(), b"X-CSRF-Token": token.encode()}
        answer = await api.http.post(rating, headers=headers, json={"rating": 5})
        assert answer.status_code == 401, token
    own = {**cookie, "X-CSRF-Token": csrf_token(key)}
    assert (await api.http.post(rating, headers=own, json={"rating": 5})).status_code == 201


async def test_a_tab_of_who_was_signed_in_before_reads_nothing_of_who_is_now(api: Api) -> None:
    """Another tab signed in as somebody else: the cookie is theirs, the token is not."""
    ada, bob = [await api.key("client", identity=f"client-{name}") for name in ("ada", "bob")]
    headers = {"Cookie": f"{COOKIE}={bob}", "X-CSRF-Token": csrf_token(ada)}
    for path in ("/api/admin/transcripts", ME):
        answer = await api.http.get(path, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
        headers_of_bob = {**headers, "X-CSRF-Token": csrf_token(bob)}
        assert (await api.http.get(path, headers=headers_of_bob)).status_code == 200


async def test_a_key_in_a_header_counts_before_the_cookie(api: Api) -> None:
    admin, client = await api.key("admin"), await api.key("client", identity="client-ada")
    headers = {"Cookie": f"{COOKIE}={admin}", "X-API-Key": client}
    assert (await api.http.get(ME, headers=headers)).json()["scopes"] == ["client"]


async def test_signing_out_takes_the_cookie_away(api: Api) -> None:
    """Of a key that holds no longer, too."""
    for key in (await api.key("admin"), keys.generate()):
        cookie = {"Cookie": f"{COOKIE}={key}"}
        signed = {**cookie, "X-CSRF-Token": csrf_token(key)}
        answer = await api.http.post("/api/sign-out", headers=signed)
        assert answer.status_code == 204
        assert cookie_of(answer).value == ""
        assert answer.headers["clear-site-data"] == '"cache"', "what was read is no one else's"


async def test_another_sites_page_signs_nobody_out(api: Api) -> None:
    """A browser sends its form with the cookie, or without; it never knows the token."""
    cookie = {"Cookie": f"{COOKIE}={await api.key('admin')}"}
    other = {"X-CSRF-Token": csrf_token(keys.generate())}
    for token, refused in (({}, (403, "forbidden")), (other, (401, "unauthorized"))):
        answer = await api.http.post("/api/sign-out", headers={**cookie, **token})
        assert (answer.status_code, answer.json()["error"]) == refused
        assert "set-cookie" not in answer.headers
    answer = await api.http.post("/api/sign-out")
    assert answer.status_code == 204
    assert "set-cookie" not in answer.headers


async def test_a_form_of_another_site_signs_nobody_in(api: Api) -> None:
    """A form can send what reads like JSON, but not say that it is."""
    body = f'{{"key": "{await api.key("admin")}", "x": "=\u0022}}'
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = await api.http.post(SIGN_IN, content=body, headers={"Content-Type": kind})
        assert answer.status_code == 400
        assert "set-cookie" not in answer.headers


async def test_a_scope_of_another_version_is_none(api: Api) -> None:
    key = await api.key("client", "superuser", identity="client-ada")
    answer = await api.get(ME, key)
    assert (answer.status_code, answer.json()["scopes"]) == (200, ["client"])
    assert (await api.get(ME, await api.key("superuser"))).status_code == 403


async def test_probes_tell_alive_from_ready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "HOLDS_SECONDS", 0.0)
    assert (await api.http.get("/livez")).text == "alive\n"
    assert (await api.http.get("/readyz")).text == "ready\n"
    await api.app.state.resources.pool.close()
    assert (await api.http.get("/livez")).status_code == 200
    assert (await api.http.get("/readyz")).status_code == 503


async def test_many_who_ask_whether_it_is_ready_are_one_question_to_postgres(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def ask(_: object) -> None:
        asked.append(1)
        await asyncio.sleep(0)

    monkeypatch.setattr(readiness.Readiness, "_ask", ask)
    monkeypatch.setattr(readiness, "HOLDS_SECONDS", 3600.0)
    answers = await asyncio.gather(*(api.http.get("/readyz") for _ in range(20)))
    assert {answer.text for answer in answers} == {"ready\n"}
    assert len(asked) == 1


async def test_figures_are_for_keys_of_machines_and_name_routes_alone(api: Api) -> None:
    session = await add_session(api.db)
    admin = await api.key("admin")
    await api.get(f"/api/admin/transcripts/{session}", admin)
    await api.http.get("/somewhere/secret")
    await api.http.request("SECRET", "/api/admin/transcripts")
    assert (await api.http.get("/metrics")).status_code == 401
    page = (await api.get("/metrics", await api.key("internal"))).text
    line = (
        'coach_api_requests_total{method="GET",route="/api/admin/transcripts/{sessionId}",'
        'status="200"} 1.0'
    )
    assert line in page
    assert str(session) not in page
    assert "secret" not in page.lower()


async def test_what_takes_too_long_is_503_and_not_a_request_without_an_end(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "REQUEST_SECONDS", 0.2)
    async with serving(settings(database_url)) as api:
        api.app.add_api_route("/never", asyncio.Event().wait)
        answer = await api.http.get("/never")
        assert answer.status_code == 503
        assert set(answer.json()) == {"error", "details"}


async def test_an_empty_key_beside_that_of_a_service_widens_nothing(api: Api) -> None:
    key = await api.key("admin", "internal")
    for empty in ({}, {"Authorization": "Bearer "}, {"X-API-Key": ""}):
        answer = await api.http.get(ME, headers={"X-Internal-Service-Key": key, **empty})
        assert answer.json()["scopes"] == ["internal"]


@pytest.mark.parametrize(
    "number", ["9" * 5000, "1e999", "-1e999", "NaN", "Infinity", "1" + "0" * 400]
)
async def test_numbers_that_nobody_can_hold_are_400(api: Api, number: str) -> None:
    session = await add_session(api.db, client_identity="client-ada")
    key = await api.key("client", "internal", identity="client-ada")
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    turn = f'{{"itemId": "a", "seq": {number}, "speakerRole": "ai", "content": "x",'
    for path, body in (
        (f"/api/sessions/{session}/rating", f'{{"rating": {number}}}'),
        (
            f"/api/internal/sessions/{session}/transcript",
            f'{{"turns": [{turn} "timestamp": "2026-11-20T09:00:00Z"}}]}}',
        ),
        ("/api/livekit/token", f'{{"room_config": {{"emptyTimeout": {number}}}}}'),
    ):
        answer = await api.http.post(path, headers=headers, content=body)
        assert answer.status_code in (400, 403), (path, answer.text)
