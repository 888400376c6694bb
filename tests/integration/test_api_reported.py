"""Sessions that other agents report: told any number of times they are there once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from serving import Api, add_session, add_user

from agent.jobs import after_session
from persistence import landings, reported, tombstones
from persistence.ids import new_id

SESSIONS = "/api/internal/sessions"
TOLD = {
    "roomName": "call-7",
    "clientIdentity": "client-ada",
    "startedAt": "2026-11-20T09:00:00Z",
    "pipeline": "phone",
}


def said(seq: int, **more: Any) -> dict[str, Any]:
    return {
        "itemId": f"item-{seq}",
        "seq": seq,
        "speakerRole": "client",
        "speakerIdentity": "client-ada",
        "content": f"Said as number {seq}.",
        "timestamp": f"2026-11-20T09:00:{seq:02}Z",
        "endTime": f"2026-11-20T09:00:{seq:02}.500Z",
        **more,
    }


def end(**more: Any) -> dict[str, Any]:
    return {"at": "2026-11-20T09:30:00Z", "reason": "client_left", **more}


async def started(api: Api, key: str, **more: Any) -> str:
    answer = await api.post(SESSIONS, key, {**TOLD, **more})
    assert answer.status_code == 201, answer.text
    session_id: str = answer.json()["sessionId"]
    return session_id


async def tell(api: Api, key: str, session: str, **body: Any) -> Any:
    return await api.post(f"{SESSIONS}/{session}/transcript", key, body)


async def count(api: Api, query: str) -> int:
    row = await (await api.db.execute(query.encode())).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_reported_session_is_read_as_any_other_and_its_jobs_are_deferred(api: Api) -> None:
    ada = await add_user(api.db, "client-ada", display_name="Ada")
    internal, admin = await api.key("internal"), await api.key("admin")
    session = await started(api, internal)
    assert UUID(session).version == 7
    turns = [said(n, speakerRole="client" if n % 2 else "assistant") for n in range(1, 7)]
    answer = await tell(api, internal, session, turns=turns, ended=end(turnCount=6))
    assert (answer.status_code, answer.json()) == (
        201,
        {
            "sessionId": session,
            "status": "completed",
            "turnCount": 6,
            "added": 6,
            "dropped": 0,
        },
    )
    shown = (await api.get(f"/api/admin/transcripts/{session}", admin)).json()
    assert (shown["clientId"], shown["clientName"], shown["durationMinutes"]) == (
        str(ada),
        "Ada",
        30,
    )
    assert [(m["speakerRole"], m["content"]) for m in shown["messages"][:2]] == [
        ("client", "Said as number 1."),
        ("ai", "Said as number 2."),
    ]
    assert shown["completeness"] == "complete"
    assert shown["receipt"]["kept"]
    jobs = "SELECT count(*) FROM procrastinate_jobs WHERE args ->> 'session_id' = '{}'"
    assert await count(api, jobs.format(session)) == 1


async def test_what_is_told_twice_and_at_once_is_there_once(api: Api) -> None:
    key = await api.key("internal")
    ids = await asyncio.gather(*(started(api, key) for _ in range(5)))
    assert len(set(ids)) == 1
    session = ids[0]
    portions = [{"turns": [said(1), said(2)]}, {"turns": [said(2), said(3)]}] * 3
    answers = await asyncio.gather(*(tell(api, key, session, **p) for p in portions))
    assert {answer.status_code for answer in answers} == {201}
    assert sum(answer.json()["added"] for answer in answers) == 3
    for _ in range(2):
        answer = await tell(api, key, session, turns=[said(3)], ended=end())
        assert answer.json()["status"] == "completed"
    assert await started(api, key) == session, "told again after its end it has still ended"
    assert await count(api, "SELECT count(*) FROM turns") == 3
    assert await count(api, "SELECT count(*) FROM sessions WHERE status = 'completed'") == 1


async def test_two_turns_of_a_session_have_not_the_same_seq(api: Api) -> None:
    """Whoever follows it goes on behind a seq: one of the two would be left out."""
    key = await api.key("internal")
    session = await started(api, key)
    other = said(1, itemId="another")
    together = await tell(api, key, session, turns=[said(1), other])
    assert (together.status_code, together.json()["error"]) == (400, "bad request")
    assert (await tell(api, key, session, turns=[said(1)])).status_code == 201
    later = await tell(api, key, session, turns=[other, said(2)])
    assert (later.status_code, later.json()["error"]) == (409, "conflict")
    again = await tell(api, key, session, turns=[said(1), said(2)])
    assert (again.status_code, again.json()["turnCount"]) == (201, 2)


async def test_what_was_said_stands_after_the_end(api: Api) -> None:
    key = await api.key("internal")
    session = await started(api, key)
    await tell(api, key, session, turns=[said(1)], ended=end())
    assert (await tell(api, key, session, turns=[said(2)])).status_code == 409
    again = await tell(api, key, session, turns=[said(1, content="Never said.")])
    assert again.status_code == 201
    assert await count(api, "SELECT count(*) FROM turns WHERE text = 'Said as number 1.'") == 1


async def test_a_transcript_that_lacks_turns_is_partial(api: Api) -> None:
    key = await api.key("internal")
    session = await started(api, key)
    await tell(api, key, session, turns=[said(1)], ended=end(turnCount=2))
    shown = (await api.get(f"/api/admin/transcripts/{session}", await api.key("admin"))).json()
    assert shown["completeness"] == "partial"
    assert shown["receipt"]["reason"] == "1 of 2 turns were reported"


async def test_a_session_of_a_worker_is_written_by_its_journal_alone(api: Api) -> None:
    key = await api.key("internal")
    own = str(await add_session(api.db, status="active", worker_id=new_id()))
    assert (await api.post(SESSIONS, key, {**TOLD, "id": own})).status_code == 409
    assert (await tell(api, key, own, turns=[said(1)], ended=end())).status_code == 409
    assert await count(api, "SELECT count(*) FROM turns") == 0
    assert await count(api, "SELECT count(*) FROM sessions WHERE status = 'active'") == 1


async def test_turns_of_a_session_that_nobody_reported_are_not_taken(api: Api) -> None:
    key = await api.key("internal")
    assert (await tell(api, key, str(uuid4()), turns=[said(1)])).status_code == 404
    assert await count(api, "SELECT count(*) FROM sessions") == 0


async def test_what_was_erased_does_not_come_back(api: Api) -> None:
    """A session, a client whose session it is, and a person who speaks in another's."""
    key = await api.key("internal")
    session = await started(api, key)
    await tombstones.add_session(api.db, UUID(session))
    await api.db.execute("DELETE FROM sessions")
    assert (await api.post(SESSIONS, key, TOLD)).status_code == 409
    assert (await tell(api, key, session, turns=[said(1)])).status_code == 409
    await tombstones.add_identity(api.db, "client-eve")
    eves = await api.post(SESSIONS, key, {**TOLD, "roomName": "r", "clientIdentity": "client-eve"})
    assert eves.status_code == 409
    assert await count(api, "SELECT count(*) FROM sessions") == 0
    other = await started(api, key, roomName="other")
    turns = [said(1), said(2, speakerIdentity="client-eve")]
    answer = (await tell(api, key, other, turns=turns, ended=end())).json()
    assert (answer["added"], answer["dropped"], answer["turnCount"]) == (1, 1, 1)
    assert await count(api, "SELECT sum(dropped) FROM tombstones") == 4


@pytest.mark.parametrize(
    "body",
    [
        {"turns": [said(1, content="  ")]},
        {"turns": [said(1, content="a\x00b")]},
        {"turns": [said(0)]},
        {"turns": [said(1, speakerRole="nobody")]},
        {"turns": [said(1, confidence=1.5)]},
        {"turns": [said(1, timestamp="2999-01-01T00:00:00Z")]},
        {"turns": [said(1, metrics={"a": "b"})]},
        {"turns": [said(1), said(1)]},
        {"ended": end(reason="bored")},
    ],
)
async def test_a_transcript_that_is_none_is_refused_whole(api: Api, body: dict[str, Any]) -> None:
    key = await api.key("internal")
    session = await started(api, key)
    answer = await tell(api, key, session, **body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "details"}
    assert await count(api, "SELECT count(*) FROM turns") == 0


@pytest.mark.parametrize(
    "wrong",
    [{"seq": True}, {"seq": "1"}, {"interrupted": 1}, {"confidence": True}, {"timestamp": 5}],
)
async def test_what_json_has_another_type_for_is_not_made_to_fit(
    api: Api, wrong: dict[str, Any]
) -> None:
    key = await api.key("internal")
    session = await started(api, key)
    assert (await tell(api, key, session, turns=[{**said(1), **wrong}])).status_code == 400


async def test_the_same_moment_in_another_zone_is_the_same_session(api: Api) -> None:
    key = await api.key("internal")
    moments = ("2026-11-20T09:00:00Z", "2026-11-20T09:00:00", "2026-11-20T10:30:00+01:30")
    assert len({await started(api, key, startedAt=moment) for moment in moments}) == 1


async def test_a_session_does_not_end_before_it_began(api: Api) -> None:
    key = await api.key("internal")
    session = await started(api, key)
    early = end(at="2026-11-20T08:59:59Z")
    assert (await tell(api, key, session, turns=[said(1)], ended=early)).status_code == 409
    assert await count(api, "SELECT count(*) FROM turns") == 0
    assert await count(api, "SELECT count(*) FROM sessions WHERE status = 'active'") == 1


@pytest.mark.parametrize(
    ("told", "again", "is_another"),
    [
        ({}, {"clientIdentity": "client-bob"}, True),
        ({}, {"roomName": "elsewhere"}, True),
        ({}, {"clientIdentity": None}, False),
        ({"clientIdentity": None}, {}, False),
        ({}, {"pipeline": "other"}, False),
        # of people who are known, by either name of theirs
        ({"clientIdentity": "client-eve"}, {"clientIdentity": "eve"}, False),
        ({"clientIdentity": "client-eve"}, {"clientIdentity": "client-ada"}, True),
        ({"clientIdentity": "client-eve"}, {"clientIdentity": None, "clientId": "carl"}, True),
        ({"clientIdentity": "client-eve"}, {"clientIdentity": None, "clientId": "eve"}, False),
        ({"clientIdentity": None, "clientId": "eve"}, {"clientIdentity": "client-ada"}, True),
    ],
)
async def test_a_session_is_not_told_again_as_another_clients(
    api: Api, told: dict[str, Any], again: dict[str, Any], *, is_another: bool
) -> None:
    users = {name: str(await add_user(api.db, name)) for name in ("eve", "carl")}

    def of(more: dict[str, Any]) -> dict[str, Any]:
        known = {"clientId": users[more["clientId"]]} if "clientId" in more else {}
        return {**TOLD, **more, **known}

    key = await api.key("internal")
    session = str(uuid4())
    assert (await api.post(SESSIONS, key, {**of(told), "id": session})).status_code == 201
    before = await facts(api)
    answer = await api.post(SESSIONS, key, {**of(again), "id": session})
    assert answer.status_code == (409 if is_another else 201)
    assert (await facts(api) == before) or not is_another


async def facts(api: Api) -> list[Any]:
    query = "SELECT user_id, client_identity, room_name FROM sessions"
    return await (await api.db.execute(query)).fetchall()


async def test_what_nobody_ends_is_given_up_after_a_day_and_taken_back_by_its_agent(
    api: Api,
) -> None:
    key, admin = await api.key("internal"), await api.key("admin")
    now = datetime.now(UTC)
    long_ago, lately = ((now - timedelta(hours=hours)).isoformat() for hours in (25, 23))
    fresh = await started(api, key, roomName="fresh", startedAt=lately)
    worked = await add_session(api.db, status="active", worker_id=new_id())
    spoken = await started(api, key, roomName="spoken", startedAt=long_ago)
    await tell(api, key, spoken, turns=[said(1, timestamp=lately, endTime=lately)])
    silent = await started(api, key, roomName="silent", startedAt=long_ago)
    await tell(api, key, silent, turns=[said(1, timestamp=long_ago, endTime=long_ago)])
    await landings.listen(api.db)
    assert await reported.give_up(api.db, after_session.defer) == [UUID(silent)]
    assert await landings.heard(api.db, within=10) == {UUID(silent)}, "who follows is told"
    assert await reported.give_up(api.db, after_session.defer) == []
    active = {str(fresh), str(worked), str(spoken)}
    listed = (await api.get("/api/admin/transcripts?status=active", admin)).json()
    assert {session["id"] for session in listed} == active
    shown = (await api.get(f"/api/admin/transcripts/{silent}", admin)).json()
    assert (shown["status"], shown["endReason"]) == ("cancelled", "worker_lost")
    assert shown["completeness"] == "partial"
    assert await count(api, "SELECT count(*) FROM procrastinate_jobs") == 1
    answer = await tell(api, key, silent, turns=[said(2)], ended=end(at=lately))
    assert (answer.status_code, answer.json()["status"]) == (201, "completed")
    assert (answer.json()["turnCount"], answer.json()["added"]) == (2, 1)
    shown = (await api.get(f"/api/admin/transcripts/{silent}", admin)).json()
    assert (shown["endReason"], shown["completeness"]) == ("client_left", "complete")
