"""Sessions and transcripts over HTTP, as the dashboards read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from serving import START, Api, add_session, add_turns, add_user, serving, settings

from persistence.events import transcript_sha256

LIST = "/api/admin/transcripts"


@pytest.fixture
async def admin(api: Api) -> str:
    return await api.key("admin")


async def listed(api: Api, admin: str, **wanted: str) -> list[UUID]:
    answer = await api.get(LIST, admin, params=wanted)
    assert answer.status_code == 200, answer.text
    return [UUID(session["id"]) for session in answer.json()]


async def test_a_session_is_listed_as_the_dashboards_expect_it(api: Api, admin: str) -> None:
    ada = await add_user(api.db, "client-ada", display_name="Ada")
    carl = await add_user(api.db, "coach-carl", email="carl@example.org", role="coach")
    session = await add_session(
        api.db,
        user_id=ada,
        coach_id=carl,
        room_name="demo",
        room_sid="RM_1",
        completeness="complete",
    )
    await add_turns(api.db, session, [{"text": "one"}, {"text": "two"}])
    assert (await api.get(LIST, admin)).json() == [
        {
            "id": str(session),
            "clientId": str(ada),
            "clientName": "Ada",
            "coachId": str(carl),
            "coachName": "carl",
            "startTime": "2026-11-20T09:00:00.000Z",
            "endTime": "2026-11-20T09:01:30.000Z",
            "durationMinutes": 2,
            "messageCount": 2,
            "status": "completed",
            "completeness": "complete",
            "roomName": "demo",
            "roomSid": "RM_1",
        }
    ]


async def test_what_is_unknown_of_a_session_is_empty_or_left_out(api: Api, admin: str) -> None:
    await add_session(api.db, status="active")
    (session,) = (await api.get(LIST, admin)).json()
    assert (session["clientId"], session["clientName"]) == ("", "")
    assert not {"coachId", "coachName", "endTime", "completeness", "roomSid"} & set(session)


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ({"display_name": "Ada", "email": "a.l@example.org"}, "Ada"),
        ({"display_name": " ", "email": "a.l@example.org"}, "a.l"),
        ({"email": None}, "client-ada"),
    ],
)
async def test_a_missing_name_falls_back_to_the_emails_local_part_then_the_identity(
    api: Api, admin: str, user: dict[str, str], name: str
) -> None:
    ada = await add_user(api.db, "client-ada", **user)
    await add_session(api.db, user_id=ada)
    (session,) = (await api.get(LIST, admin)).json()
    assert session["clientName"] == name


async def test_a_client_without_a_user_is_known_by_the_identity(api: Api, admin: str) -> None:
    await add_session(api.db, client_identity="visitor")
    (session,) = (await api.get(LIST, admin)).json()
    assert (session["clientId"], session["clientName"]) == ("visitor", "visitor")


async def test_durations_are_whole_minutes_halves_up(api: Api, admin: str) -> None:
    seconds = (0, 29.9, 30, 90, 149.9)
    for back, duration in enumerate(seconds):
        started = START - timedelta(days=back)
        await add_session(api.db, duration_seconds=duration, started_at=started)
    sessions = (await api.get(LIST, admin)).json()
    assert [session["durationMinutes"] for session in sessions] == [0, 0, 1, 2, 2]


async def test_a_session_that_began_by_a_clock_that_is_ahead_lasts_no_time(
    api: Api, admin: str
) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=4)
    await add_session(api.db, status="active", started_at=ahead)
    (session,) = (await api.get(LIST, admin)).json()
    assert session["durationMinutes"] == 0


async def test_pages_give_every_session_once_newest_first_with_the_filters_kept(
    api: Api, admin: str
) -> None:
    """Five of seven start in the same instant: the id decides between them."""
    made = [await add_session(api.db, client_identity="a") for _ in range(5)]
    for hours in (-1, 1):
        started = START + timedelta(hours=hours)
        made.append(await add_session(api.db, client_identity="a", started_at=started))
    await add_session(api.db, client_identity="b")
    seen: list[UUID] = []
    url = f"{LIST}?limit=2&client=a"
    for _ in range(4):
        answer = await api.get(url, admin)
        seen += [UUID(session["id"]) for session in answer.json()]
        if "next" not in answer.links:
            break
        following = urlsplit(answer.links["next"]["url"])
        url = f"{following.path}?{following.query}"
    assert seen == [made[6], *sorted(made[:5], reverse=True), made[5]]
    assert "next" not in answer.links


async def test_lists_are_filtered_by_people_status_and_time(api: Api, admin: str) -> None:
    ada = await add_user(api.db, "client-ada")
    carl = await add_user(api.db, "coach-carl", role="coach")
    one = await add_session(api.db, user_id=ada, coach_id=carl)
    later = START + timedelta(days=1)
    two = await add_session(api.db, client_identity="bob", started_at=later, status="active")
    assert await listed(api, admin, client=str(ada)) == [one]
    assert await listed(api, admin, client=str(ada).upper()) == [one]
    assert await listed(api, admin, client="client-ada") == [one]
    assert await listed(api, admin, client="bob") == [two]
    assert await listed(api, admin, coach="coach-carl") == [one]
    assert await listed(api, admin, coach=str(carl)) == [one]
    assert await listed(api, admin, status="active") == [two]
    assert await listed(api, admin, **{"from": later.isoformat()}) == [two]
    assert await listed(api, admin, to=later.isoformat()) == [one]
    assert await listed(api, admin, to="2026-11-21T09:00:00") == [one], "no zone is UTC"
    assert await listed(api, admin, client="nobody") == []
    assert await listed(api, admin, to="0001-01-01T00:00:00+14:00") == []
    assert await listed(api, admin, to="9999-12-31T23:59:59-14:00") == [two, one]


async def test_a_transcript_has_every_turn_in_the_order_of_speech(api: Api, admin: str) -> None:
    ada = await add_user(api.db, "client-ada", display_name="Ada")
    session = await add_session(api.db, user_id=ada)
    said: list[dict[str, Any]] = [
        {"text": "What would", "role": "ai", "interrupted": True, "generated_text": "What would?"},
        {"text": "Hello", "user_id": ada, "speaker_identity": "client-ada", "confidence": 0.9},
        {"text": "Hm", "role": "coach", "speaker_identity": "coach-carl"},
        {"text": "first of all", "started_at": START},
    ]
    await add_turns(api.db, session, said)
    body = (await api.get(f"{LIST}/{session}", admin)).json()
    assert body["sessionId"] == body["id"] == str(session)
    messages = body["messages"]
    assert [m["content"] for m in messages] == ["first of all", "What would", "Hello", "Hm"]
    unnamed, ai, client, coach = messages
    assert (ai["speakerId"], ai["speakerName"], ai["speakerRole"]) == (
        "ai-agent",
        "AI Coach",
        "ai",
    )
    assert (ai["interrupted"], ai["generatedContent"]) == (True, "What would?")
    assert "confidence" not in ai
    assert (client["speakerId"], client["speakerName"]) == (str(ada), "Ada")
    assert client["confidence"] == pytest.approx(0.9)
    assert client["timestamp"] == "2026-11-20T09:00:02.000Z"
    assert client["sessionId"] == str(session)
    assert (coach["speakerId"], coach["speakerRole"]) == ("coach-carl", "coach")
    assert unnamed["speakerName"] == "Ada", "the session's client, where the turn names nobody"


async def test_an_imported_session_is_parsed_into_messages(api: Api, admin: str) -> None:
    text = "Client: Hi\nnoise\nASSISTANT:  Hello: you\ncoach:\nuser: Bye"
    session = await add_session(api.db, client_identity="ada", legacy_transcript=text)
    messages = (await api.get(f"{LIST}/{session}", admin)).json()["messages"]
    assert [(m["id"], m["speakerRole"], m["content"]) for m in messages] == [
        (f"legacy-{session}-1", "client", "Hi"),
        (f"legacy-{session}-3", "ai", "Hello: you"),
        (f"legacy-{session}-5", "client", "Bye"),
    ]
    assert [m["speakerName"] for m in messages] == ["ada", "AI Coach", "ada"]
    (listed_session,) = (await api.get(LIST, admin)).json()
    assert listed_session["messageCount"] == 3


async def test_turns_are_shown_rather_than_an_imported_text(api: Api, admin: str) -> None:
    session = await add_session(api.db, legacy_transcript="client: old")
    await add_turns(api.db, session, [{"text": "new"}])
    messages = (await api.get(f"{LIST}/{session}", admin)).json()["messages"]
    assert [m["content"] for m in messages] == ["new"]


async def test_a_receipt_says_whether_the_turns_are_still_those_it_names(
    api: Api, admin: str
) -> None:
    digest = transcript_sha256([(1, "item-1", "client", None, "one", False)])
    session = await add_session(
        api.db, transcript_sha256=digest, turn_count=1, completeness="complete"
    )
    await add_turns(api.db, session, [{"text": "one"}])
    receipt = (await api.get(f"{LIST}/{session}", admin)).json()["receipt"]
    assert receipt == {"turnCount": 1, "transcriptSha256": digest, "kept": True}
    await api.db.execute("UPDATE turns SET text = 'another'")
    assert (await api.get(f"{LIST}/{session}", admin)).json()["receipt"]["kept"] is False


async def test_an_unknown_session_is_404(api: Api, admin: str) -> None:
    answer = await api.get(f"{LIST}/{uuid4()}", admin)
    assert answer.status_code == 404
    assert answer.json() == {"error": "not found", "details": "there is no such session"}


@pytest.mark.parametrize(
    ("wanted", "media_type"),
    [
        ("json", "application/json"),
        ("md", "text/markdown; charset=utf-8"),
        ("vtt", "text/vtt; charset=utf-8"),
        ("txt", "text/plain; charset=utf-8"),
    ],
)
async def test_a_session_is_exported_as_a_file(
    api: Api, admin: str, wanted: str, media_type: str
) -> None:
    session = await add_session(api.db, client_identity="visitor")
    await add_turns(api.db, session, [{"text": "Guten Morgen, schön."}])
    answer = await api.get(f"{LIST}/{session}/export", admin, params={"format": wanted})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == media_type
    assert answer.headers["content-disposition"] == (
        f'attachment; filename="session-{session}.{wanted}"'
    )
    assert "Guten Morgen" in answer.text


async def test_an_export_in_an_unknown_format_or_of_no_session_is_refused(
    api: Api, admin: str
) -> None:
    session = await add_session(api.db)
    params = {"format": "pdf"}
    answer = await api.get(f"{LIST}/{session}/export", admin, params=params)
    assert answer.status_code == 400
    assert (await api.get(f"{LIST}/{uuid4()}/export", admin)).status_code == 404


async def test_the_next_page_is_where_this_one_is_whatever_host_a_request_names(
    api: Api, database_url: str
) -> None:
    for _ in range(2):
        await add_session(api.db, client_identity="client-ada")
    headers = {"X-API-Key": await api.key("admin"), "Host": "evil.example"}
    asked = f"{LIST}?limit=1&client=client-ada&cursor="
    for base, public in (("", None), ("https://coach.example/app", "https://coach.example/app/")):
        async with serving(settings(database_url, api_public_url=public)) as served:
            answer = await served.http.get(asked.removesuffix("&cursor="), headers=headers)
        link = answer.links["next"]["url"]
        assert link.startswith(f"{base}{asked}")
        assert link.count("cursor=") == 1
