"""Rooms and tokens against a real LiveKit server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import jwt
import pytest
from livekit import api as livekit_api
from livekit import rtc
from livekit.api import ListRoomsRequest
from serving import Api, add_session, add_user, all_idle, serving, settings

from agent.local.livekit_server import LiveKitServer
from persistence import appointments, viewers
from persistence.ids import new_id
from persistence.viewers import Reach, Viewer

CREATE = "/api/rooms/create"
TOKEN = "/api/livekit/token"
AGENT = "voice-coach"


@pytest.fixture
async def live(database_url: str, livekit: LiveKitServer) -> AsyncIterator[Api]:
    """The API with a LiveKit server."""
    async with serving(settings(database_url, livekit)) as served:
        yield served


@pytest.fixture
async def server(livekit: LiveKitServer) -> AsyncIterator[livekit_api.LiveKitAPI]:
    credentials = livekit.credentials
    async with livekit_api.LiveKitAPI(livekit.url, credentials.key, credentials.secret) as client:
        yield client


def a_room() -> str:
    return f"room {uuid4().hex}"


async def dispatches(server: livekit_api.LiveKitAPI, room: str) -> list[str]:
    return [found.agent_name for found in await server.agent_dispatch.list_dispatch(room)]


async def appointment(api: Api, room: str | None = None) -> str:
    made = new_id()
    await api.db.execute("INSERT INTO appointments (id, room_name) VALUES (%s, %s)", (made, room))
    return str(made)


async def room_of(api: Api, appointment_id: str) -> str | None:
    query = "SELECT room_name FROM appointments WHERE id = %s"
    row = await (await api.db.execute(query, (appointment_id,))).fetchone()
    assert row is not None
    room: str | None = row[0]
    return room


async def test_a_room_is_made_with_one_dispatch_however_often_it_is_asked_for(
    live: Api, server: livekit_api.LiveKitAPI
) -> None:
    key, room = await live.key("admin"), a_room()
    answers = await asyncio.gather(*(live.post(CREATE, key, {"roomName": room}) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    (data,) = {repr(answer.json()): answer.json() for answer in answers}.values()
    assert data["success"] is True
    assert data["data"]["roomId"] == room
    (made,) = (await server.room.list_rooms(ListRoomsRequest(names=[room]))).rooms
    assert made.sid == data["data"]["roomSid"]
    assert await dispatches(server, room) == [AGENT]


async def join_url(api: Api, host: str) -> str:
    headers = {"X-API-Key": await api.key("internal"), "Host": host}
    answer = await api.http.post(CREATE, headers=headers, json={"roomName": "a room & more"})
    assert answer.status_code == 200, answer.text
    urls = answer.json()["data"]["joinUrls"]
    for role in ("client", "coach"):
        query = parse_qs(urlsplit(urls[role]).query)
        assert query == {"room": ["a room & more"], "role": [role]}
    return str(urls["client"]).partition("?")[0]


async def test_join_urls_name_where_people_reach_the_api(
    database_url: str, livekit: LiveKitServer
) -> None:
    public = settings(database_url, livekit, api_public_url="https://coach.example/app/")
    async with serving(public) as api:
        assert await join_url(api, "evil.example") == "https://coach.example/app/"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "a b:x"])
async def test_join_urls_do_not_name_a_host_that_a_request_made_up(
    database_url: str, livekit: LiveKitServer, host: str
) -> None:
    async with serving(settings(database_url, livekit)) as api:
        url = await join_url(api, host)
        assert not host or host not in url.replace("[::1]", "")
        assert urlsplit(url).scheme == "http"


async def test_join_urls_name_this_machine_and_known_sites_as_they_were_asked(
    database_url: str, livekit: LiveKitServer
) -> None:
    known = settings(database_url, livekit, api_origins="http://coach.example")
    async with serving(known) as api:
        for host in ("127.0.0.1:8000", "localhost:8000", "[::1]:8000", "coach.example"):
            assert await join_url(api, host) == f"http://{host}/"


async def test_a_room_without_a_name_gets_one_that_nobody_guesses(live: Api) -> None:
    key = await live.key("internal")
    names = {(await live.post(CREATE, key, {})).json()["data"]["roomId"] for _ in range(3)}
    assert len(names) == 3
    assert all(len(name) >= 16 for name in names)


async def test_an_appointment_is_linked_to_its_room_once(live: Api) -> None:
    key, room, meeting = await live.key("admin"), a_room(), await appointment(live)
    for name in (room, None, room):
        wanted = {"roomName": name, "appointmentId": meeting}
        answer = await live.post(CREATE, key, wanted)
        assert answer.json()["data"]["roomId"] == room
    assert await room_of(live, meeting) == room
    other = await live.post(CREATE, key, {"roomName": a_room(), "appointmentId": meeting})
    assert other.status_code == 409
    assert await room_of(live, meeting) == room


async def test_a_room_of_another_appointment_is_409(live: Api) -> None:
    key, room = await live.key("admin"), a_room()
    await appointment(live, room)
    meeting = await appointment(live)
    answer = await live.post(CREATE, key, {"roomName": room, "appointmentId": meeting})
    assert answer.status_code == 409
    assert await room_of(live, meeting) is None


async def test_an_unknown_appointment_is_404_and_makes_no_room(
    live: Api, server: livekit_api.LiveKitAPI
) -> None:
    key, room = await live.key("admin"), a_room()
    answer = await live.post(CREATE, key, {"roomName": room, "appointmentId": str(uuid4())})
    assert answer.status_code == 404
    assert not (await server.room.list_rooms(ListRoomsRequest(names=[room]))).rooms


async def test_without_livekit_a_room_is_503_and_its_appointment_keeps_it(api: Api) -> None:
    """Asking again makes the room that it has; no connection waits for LiveKit meanwhile."""
    meeting = await appointment(api)
    answer = await api.post(CREATE, await api.key("admin"), {"appointmentId": meeting})
    assert answer.status_code == 503
    assert answer.json() == {
        "error": "service unavailable",
        "details": "LiveKit cannot be reached",
    }
    room = await room_of(api, meeting)
    assert room is not None
    again = {"appointmentId": meeting, "roomName": room}
    assert (await api.post(CREATE, await api.key("admin"), again)).status_code == 503


async def test_while_livekit_is_slow_no_connection_to_postgres_waits_for_it(
    live: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources, idle = live.app.state.resources, []

    async def create_room(*_: Any) -> Any:
        await all_idle(live)
        idle.append(True)
        return livekit_api.Room(sid="RM_1")

    key, meeting = await live.key("admin"), await appointment(live)
    monkeypatch.setattr(resources.livekit.room, "create_room", create_room)
    await live.post(CREATE, key, {"appointmentId": meeting})
    assert idle == [True]


async def test_a_coach_holds_their_own_appointments_and_nobody_elses(live: Api) -> None:
    carl = await add_user(live.db, "coach-carl", role="coach")
    own, others = await appointment(live), await appointment(live)
    await live.db.execute("UPDATE appointments SET coach_id = %s WHERE id = %s", [carl, own])
    key = await live.key("coach", identity="coach-carl")
    answers = [
        await live.post(CREATE, key, {"appointmentId": meeting}) for meeting in (own, others)
    ]
    assert [answer.status_code for answer in answers] == [200, 404]
    assert await room_of(live, others) is None


async def test_a_key_that_has_rooms_makes_those_and_no_others(live: Api) -> None:
    room = a_room()
    key = await live.key("coach", identity="coach-carl", rooms=[room])
    assert (await live.post(CREATE, key, {})).json()["data"]["roomId"] == room
    assert (await live.post(CREATE, key, {"roomName": a_room()})).status_code == 403


async def test_what_a_coach_makes_is_theirs_to_join_and_nobody_elses(api: Api) -> None:
    """Named or not; LiveKit, which is away here, makes it when it is asked for again."""
    carl = await add_user(api.db, "coach-carl", role="coach")
    own = await api.key("coach", identity="coach-carl")
    other = await api.key("coach", identity="coach-dora")
    await add_user(api.db, "coach-dora", role="coach")
    for _ in range(2):
        assert (await api.post(CREATE, own, {"roomName": "carls"})).status_code == 503
    assert (await api.post(CREATE, own, {})).status_code == 503
    found = await api.db.execute("SELECT room_name FROM appointments WHERE coach_id = %s", [carl])
    rooms = [room for (room,) in await found.fetchall()]
    assert len(rooms) == 2
    for room in rooms:
        assert (await api.post(TOKEN, own, {"room_name": room})).status_code == 201
        assert (await api.post(TOKEN, other, {"room_name": room})).status_code == 403
        assert (await api.post(CREATE, other, {"roomName": room})).status_code == 403


async def test_a_coach_makes_no_room_that_somebody_has_already(api: Api) -> None:
    """A client's key, a session in it, an appointment: each says whose it is."""
    carl = await api.key("coach", identity="coach-carl")
    assert (await api.post(CREATE, carl, {"roomName": "x"})).status_code == 403, "of no user"
    await add_user(api.db, "coach-carl", role="coach")
    await api.key("client", identity="client-ada", rooms=["adas"])
    await add_session(api.db, client_identity="client-bob", room_name="bobs")
    await appointment(api, "somebodys")
    own = await appointment(api)
    await api.db.execute(
        "UPDATE appointments SET coach_id = users.id FROM users WHERE room_name IS NULL"
    )
    for room in ("adas", "bobs", "somebodys"):
        for wanted in ({}, {"appointmentId": own}):
            answer = await api.post(CREATE, carl, {"roomName": room, **wanted})
            assert answer.status_code == 403
        assert (await api.post(TOKEN, carl, {"room_name": room})).status_code == 403
    assert await room_of(api, own) is None


@pytest.mark.parametrize(
    "query",
    [appointments._NOBODYS, viewers._HAS_ROOM.format(condition=viewers.CONDITIONS[Reach.CLIENTS])],
)
async def test_whose_a_room_is_takes_no_walk_through_all_sessions(api: Api, query: str) -> None:
    """Sessions in any status are asked for, the many that are over too."""
    asked = {"room": "demo", **viewers.parameters(Viewer(Reach.CLIENTS, uuid4()))}
    async with api.db.transaction():
        await api.db.execute("SET LOCAL enable_seqscan = off")
        plan = await (await api.db.execute(f"EXPLAIN {query}", asked)).fetchall()
    assert not [line for (line,) in plan if "Seq Scan on sessions" in line]


async def test_a_room_that_a_key_does_not_have_is_not_linked_to_its_appointment(api: Api) -> None:
    await add_user(api.db, "coach-carl", role="coach")
    own = await appointment(api)
    await api.db.execute("UPDATE appointments SET coach_id = users.id FROM users")
    key = await api.key("coach", identity="coach-carl", rooms=["demo"])
    answer = await api.post(CREATE, key, {"roomName": "other", "appointmentId": own})
    assert answer.status_code == 403
    assert await room_of(api, own) is None


async def test_a_client_makes_no_rooms(live: Api) -> None:
    key = await live.key("client", identity="client-ada", rooms=["demo"])
    assert (await live.post(CREATE, key, {})).status_code == 403


def claims(answer: Any, livekit: LiveKitServer) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    token = answer.json()["participant_token"]
    found: dict[str, Any] = jwt.decode(token, livekit.credentials.secret, algorithms=["HS256"])
    return found


async def test_a_clients_token_says_what_its_key_says_and_grants_no_more(
    live: Api, livekit: LiveKitServer
) -> None:
    ada = await add_user(live.db, "client-ada", display_name="Ada")
    key = await live.key("client", identity="client-ada", rooms=["demo"])
    answer = await live.http.post(TOKEN, headers={"Authorization": f"Bearer {key}"})
    assert answer.json()["server_url"] == livekit.url
    token = claims(answer, livekit)
    assert token["sub"] == "client-ada"
    assert token["name"] == "Ada"
    assert token["attributes"] == {"role": "client", "user_id": str(ada)}
    assert token["video"] == {
        "roomJoin": True,
        "room": "demo",
        "canPublish": True,
        "canPublishSources": ["microphone"],
        "canPublishData": True,
        "canSubscribe": True,
        "canUpdateOwnMetadata": False,
    }
    assert set(token) == {"sub", "iss", "nbf", "exp", "name", "attributes", "video", "roomConfig"}
    assert 595 < token["exp"] - time.time() <= 601
    assert [agent["agentName"] for agent in token["roomConfig"]["agents"]] == [AGENT]


@pytest.mark.parametrize(
    ("scope", "identity", "attributes"),
    [
        ("client", "client-ada", {"role": "client", "user_id": "ada"}),
        ("coach", "coach-carl", {"role": "coach", "user_id": "carl"}),
        ("client", "visitor", {"role": "client", "user_id": "visitor"}),
        ("client", "coach-carl", {"role": "client", "user_id": "carl"}),
    ],
)
async def test_the_role_comes_from_the_scope_whatever_the_identity_looks_like(
    api: Api, scope: str, identity: str, attributes: dict[str, str]
) -> None:
    key = await api.key(scope, identity=identity, rooms=["demo"])
    token = (await api.post(TOKEN, key)).json()["participant_token"]
    found = jwt.decode(token, options={"verify_signature": False})
    assert found["attributes"] == attributes


async def test_what_a_key_does_not_say_is_403(api: Api) -> None:
    await add_user(api.db, "client-ada", display_name="Ada")
    key = await api.key("client", identity="client-ada", rooms=["demo", "other"])
    refused: list[dict[str, Any]] = [
        {"room_name": "elsewhere"},
        {"participant_identity": "coach-carl"},
        {"participant_name": "Carl"},
        {"participant_metadata": "{}"},
        {"participant_attributes": {"role": "coach"}},
        {"participant_attributes": {"user_id": "carl"}},
        {"participant_attributes": {"lk.agent.state": "x"}},
        {"room_config": {"agents": [{"agent_name": "another"}]}},
        {"room_config": {"agents": [{"agent_name": AGENT}, {"agent_name": AGENT}]}},
        {"room_config": {"agents": [{"agent_name": AGENT, "metadata": "{}"}]}},
        {"room_config": {"metadata": "{}"}},
        {"room_config": {"max_participants": 2}},
        {"room_config": {"egress": {"room": {"room_name": "demo"}}}},
    ]
    for wanted in refused:
        answer = await api.post(TOKEN, key, {"room_name": "demo", **wanted})
        assert answer.status_code == 403, wanted
        assert answer.json()["error"] == "forbidden"


async def test_asking_for_what_the_key_says_anyway_is_fine(api: Api) -> None:
    await add_user(api.db, "client-ada", display_name="Ada")
    key = await api.key("client", identity="client-ada", rooms=["demo", "other"])
    wanted = {
        "room_name": "other",
        "participant_identity": "client-ada",
        "participant_name": "Ada",
        "participant_metadata": "",
        "participant_attributes": {"role": "client"},
        "room_config": {"agents": [{"agent_name": AGENT}]},
        "a_field_of_a_later_sdk": None,
    }
    answer = await api.post(TOKEN, key, wanted)
    token = jwt.decode(answer.json()["participant_token"], options={"verify_signature": False})
    assert token["video"]["room"] == "other"


async def test_the_room_must_be_named_unless_the_key_has_just_one(api: Api) -> None:
    two = await api.key("client", identity="client-ada", rooms=["demo", "other"])
    any_room = await api.key("coach", identity="coach-carl")
    for key in (two, any_room):
        assert (await api.post(TOKEN, key, {})).status_code == 400


async def test_a_coach_joins_their_own_rooms_and_their_clients_and_no_others(api: Api) -> None:
    carl, dora = [
        await add_user(api.db, f"coach-{name}", role="coach") for name in ("carl", "dora")
    ]
    ada, bob, eve = [await add_user(api.db, f"client-{name}") for name in ("ada", "bob", "eve")]
    await add_session(api.db, coach_id=carl, user_id=bob)
    active: dict[str, dict[str, Any]] = {
        "carls": {"coach_id": carl, "user_id": ada},
        "doras": {"coach_id": dora, "user_id": eve},
        "carls-client": {"user_id": bob},
        "anothers-client": {"user_id": eve},
        "nobodys": {"client_identity": "visitor"},
    }
    for room, of in active.items():
        await add_session(api.db, status="active", room_name=room, **of)
    for name, coach in (("carls", carl), ("doras", dora)):
        await add_session(api.db, coach_id=coach, room_name=f"{name}-before")
        meeting = await appointment(api, f"{name}-appointment")
        await api.db.execute(
            "UPDATE appointments SET coach_id = %s WHERE id = %s", [coach, meeting]
        )
    key = await api.key("coach", identity="coach-carl")
    named = await api.key("coach", identity="coach-carl", rooms=["doras"])
    refused = {"doras", "anothers-client", "doras-appointment", "nobodys", "doras-before", "empty"}
    for room in {"carls", "carls-client", "carls-appointment", "carls-before"} | refused:
        answer = await api.post(TOKEN, key, {"room_name": room})
        assert answer.status_code == (403 if room in refused else 201), room
    assert (await api.post(TOKEN, named)).status_code == 201, "who made the key said so"


async def test_a_room_of_before_is_no_coachs_while_a_client_of_others_may_come_into_it(
    api: Api,
) -> None:
    """Nobody waits unseen where somebody else's client has a key for; an appointment decides."""
    carl = await add_user(api.db, "coach-carl", role="coach")
    ada = await add_user(api.db, "client-ada")
    await add_session(api.db, room_name="demo", coach_id=carl, user_id=ada)
    await add_session(api.db, room_name="demo", coach_id=carl, client_identity="client-visitor")
    key = await api.key("coach", identity="coach-carl")
    for identity, more in (
        ("client-ada", {}),
        ("client-visitor", {}),
        ("client-bob", {"lifetime": timedelta(seconds=-1)}),
    ):
        await api.key("client", identity=identity, rooms=["demo"], **more)
    assert (await api.post(TOKEN, key, {"room_name": "demo"})).status_code == 201
    await add_user(api.db, "client-bob")
    await api.key("client", identity="client-bob", rooms=["other", "demo"])
    for path, wanted in ((TOKEN, {"room_name": "demo"}), (CREATE, {"roomName": "demo"})):
        assert (await api.post(path, key, wanted)).status_code == 403
    meeting = await appointment(api, "demo")
    await api.db.execute("UPDATE appointments SET coach_id = %s WHERE id = %s", [carl, meeting])
    assert (await api.post(TOKEN, key, {"room_name": "demo"})).status_code == 201


async def test_an_administrators_client_key_may_join_any_room_and_no_other_clients(
    api: Api,
) -> None:
    key = await api.key("admin", "client", identity="client-rehearsal")
    answer = await api.post(TOKEN, key, {"room_name": "anything"})
    found = jwt.decode(answer.json()["participant_token"], options={"verify_signature": False})
    assert (found["video"]["room"], found["attributes"]["role"]) == ("anything", "client")
    assert "roomAdmin" not in found["video"]


async def test_a_key_of_nobody_or_of_no_room_or_of_another_scope_joins_nothing(api: Api) -> None:
    for key in (
        await api.key("client", rooms=["demo"]),
        await api.key("client", identity="client-ada"),
        await api.key("client", identity="client-ada", rooms=[]),
        await api.key("admin", identity="client-ada", rooms=["demo"]),
        await api.key("internal", identity="client-ada", rooms=["demo"]),
    ):
        assert (await api.post(TOKEN, key, {"room_name": "demo"})).status_code == 403


@pytest.mark.parametrize("config", [{"nothing": 1}, {"agents": "x"}, {"empty_timeout": -1}])
async def test_a_room_config_that_is_not_livekits_is_400(api: Api, config: Any) -> None:
    key = await api.key("client", identity="client-ada", rooms=["demo"])
    assert (await api.post(TOKEN, key, {"room_config": config})).status_code == 400


@pytest.mark.parametrize("made_before", [True, False])
async def test_client_and_coach_who_join_at_once_find_one_dispatch(
    live: Api, server: livekit_api.LiveKitAPI, *, made_before: bool
) -> None:
    room = a_room()
    if made_before:
        await live.post(CREATE, await live.key("admin"), {"roomName": room})
    keys = [
        await live.key("client", identity="client-ada", rooms=[room]),
        await live.key("coach", identity="coach-carl", rooms=[room]),
    ]
    granted = [(await live.post(TOKEN, key, {"room_name": room})).json() for key in keys]
    rooms = [rtc.Room() for _ in granted]
    try:
        await asyncio.gather(
            *(
                joined.connect(grant["server_url"], grant["participant_token"])
                for joined, grant in zip(rooms, granted, strict=True)
            )
        )
        assert rooms[0].local_participant.attributes == {"role": "client", "user_id": "ada"}
        assert await dispatches(server, room) == [AGENT]
    finally:
        await asyncio.gather(*(joined.disconnect() for joined in rooms))
