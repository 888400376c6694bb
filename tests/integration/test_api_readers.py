"""Who may read what: all, their clients', or their own; and every reading is noted."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from serving import Api, add_session, add_turns, add_user

LIST = "/api/admin/transcripts"


async def listed(api: Api, key: str) -> set[UUID]:
    answer = await api.get(LIST, key)
    assert answer.status_code == 200, answer.text
    return {UUID(session["id"]) for session in answer.json()}


async def readable(api: Api, key: str, session: UUID) -> bool:
    statuses = {
        (await api.get(f"{LIST}/{session}{what}", key)).status_code for what in ("", "/export")
    }
    assert statuses in ({200}, {404}), "a transcript and its export are read by the same people"
    return statuses == {200}


async def reads(api: Api) -> list[tuple[Any, ...]]:
    found = await api.db.execute(
        "SELECT session_id, identity, what FROM transcript_reads ORDER BY id"
    )
    return await found.fetchall()


async def test_a_client_reads_their_own_sessions_and_no_others(api: Api) -> None:
    ada = await add_user(api.db, "client-ada")
    own = await add_session(api.db, user_id=ada)
    unlinked = await add_session(api.db, client_identity="client-ada")
    other = await add_session(api.db, user_id=await add_user(api.db, "client-bob"))
    unknown = await add_session(api.db)
    key = await api.key("client", identity="client-ada")
    assert await listed(api, key) == {own, unlinked}
    assert [await readable(api, key, s) for s in (own, unlinked, other, unknown)] == [
        True,
        True,
        False,
        False,
    ]


async def test_a_client_without_a_user_reads_what_was_said_under_that_identity(api: Api) -> None:
    own = await add_session(api.db, client_identity="visitor-1")
    await add_session(api.db, client_identity="visitor-2")
    # the same identity, but it is somebody else's session by its user
    await add_session(
        api.db, client_identity="visitor-1", user_id=await add_user(api.db, "client-bob")
    )
    assert await listed(api, await api.key("client", identity="visitor-1")) == {own}


@pytest.mark.parametrize("ada", ["client-ada", "ada"])
async def test_a_key_is_its_users_who_came_after_it(api: Api, ada: str) -> None:
    client = await api.key("client", identity="client-ada")
    coach = await api.key("coach", identity="coach-carl")
    users = [await add_user(api.db, identity) for identity in (ada, "coach-carl")]
    session = await add_session(api.db, user_id=users[0], coach_id=users[1])
    for key in (client, coach):
        assert await listed(api, key) == {session}
    linked = await (await api.db.execute("SELECT user_id FROM api_keys")).fetchall()
    assert {user for (user,) in linked} == set(users)


async def test_a_key_of_nobody_reads_nothing(api: Api) -> None:
    await add_session(api.db)
    for scope in ("client", "coach"):
        assert await listed(api, await api.key(scope)) == set()


async def test_a_coach_reads_the_sessions_of_their_clients(api: Api) -> None:
    carl = await add_user(api.db, "coach-carl", role="coach")
    ada, bob, eve = [await add_user(api.db, f"client-{name}") for name in ("ada", "bob", "eve")]
    with_carl = await add_session(api.db, coach_id=carl, user_id=ada)
    alone = await add_session(api.db, user_id=ada)
    appointed = await add_session(api.db, user_id=bob)
    await api.db.execute(
        "INSERT INTO appointments (id, client_id, coach_id) VALUES (gen_random_uuid(), %s, %s)",
        [bob, carl],
    )
    other = await add_session(api.db, user_id=eve)
    key = await api.key("coach", identity="coach-carl")
    assert await listed(api, key) == {with_carl, alone, appointed}
    assert not await readable(api, key, other)


async def test_every_reading_of_a_transcript_is_noted_and_a_refused_one_is_none(api: Api) -> None:
    session = await add_session(api.db, client_identity="client-ada")
    admin = await api.key("admin", identity="coach-root")
    stranger = await api.key("client", identity="client-bob")
    await api.get(f"{LIST}/{session}", admin)
    await api.get(f"{LIST}/{session}/export", admin)
    await api.get(f"{LIST}/{session}", stranger)
    await api.get(f"{LIST}/{uuid4()}", admin)
    assert await reads(api) == [
        (session, "coach-root", "transcript"),
        (session, "coach-root", "export"),
    ]


async def test_what_has_not_changed_is_not_sent_again(api: Api) -> None:
    session = await add_session(api.db)
    await add_turns(api.db, session, [{"text": "one"}])
    admin = await api.key("admin")
    for path in (f"{LIST}/{session}", f"{LIST}/{session}/export?format=vtt"):
        tag = (await api.get(path, admin)).headers["etag"]
        for known in (tag, f'"another", W/{tag}', "*"):
            again = await api.http.get(path, headers={"X-API-Key": admin, "If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
        await api.db.execute("UPDATE turns SET text = text || ' more'")
        changed = await api.http.get(path, headers={"X-API-Key": admin, "If-None-Match": tag})
        assert changed.status_code == 200


async def test_a_client_rates_a_session_of_theirs_once(api: Api) -> None:
    session = await add_session(api.db, client_identity="client-ada")
    path = f"/api/sessions/{session}/rating"
    ada = await api.key("client", identity="client-ada")
    assert (await api.post(path, ada, {"rating": 4, "comment": " Good. "})).status_code == 201
    assert (await api.post(path, ada, {"rating": 1})).status_code == 409
    bob = await api.key("client", identity="client-bob")
    assert (await api.post(path, bob, {"rating": 1})).status_code == 404
    rating = (await api.get(f"{LIST}/{session}", ada)).json()["rating"]
    assert (rating["rating"], rating["comment"]) == (4, "Good.")


@pytest.mark.parametrize(
    "given",
    [
        {"rating": 0},
        {"rating": 6},
        {"rating": "4"},
        {"rating": 4.5},
        {"rating": True},
        {},
        {"rating": 3, "comment": ""},
        {"rating": 3, "comment": "x" * 2001},
        {"rating": 3, "comment": "a\x00b"},
    ],
)
async def test_a_rating_that_is_none_is_refused(api: Api, given: dict[str, Any]) -> None:
    session = await add_session(api.db, client_identity="client-ada")
    key = await api.key("client", identity="client-ada")
    answer = await api.post(f"/api/sessions/{session}/rating", key, given)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "details"}
