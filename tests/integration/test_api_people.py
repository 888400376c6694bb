"""Users, coaches and figures: real numbers, counted from what is stored."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from serving import START, Api, add_session, add_user

USERS, COACHES, METRICS = "/api/admin/users", "/api/admin/coaches", "/api/admin/metrics"
SYNC_RUNS = "/api/internal/sync-runs"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
async def admin(api: Api) -> str:
    return await api.key("admin")


async def got(api: Api, path: str, key: str) -> Any:
    answer = await api.get(path, key)
    assert answer.status_code == 200, answer.text
    return answer.json()


def week_began() -> datetime:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=today.isoweekday() % 7)


async def test_a_user_is_listed_with_what_they_did(api: Api, admin: str) -> None:
    ada = await add_user(
        api.db, "client-ada", email="ada@example.org", created_at=datetime(2026, 1, 2, tzinfo=UTC)
    )
    await add_session(api.db, user_id=ada)
    await add_session(api.db, user_id=ada, status="cancelled", end_reason="error")
    await add_session(api.db, user_id=ada, started_at=START + timedelta(hours=1))
    assert await got(api, USERS, admin) == [
        {
            "id": str(ada),
            "email": "ada@example.org",
            "name": "ada",
            "role": "client",
            "createdAt": "2026-01-02T00:00:00.000Z",
            "lastSeen": "2026-11-20T10:01:30.000Z",
            "totalSessions": 3,
            "totalMinutes": 3,  # two of 90 s; the cancelled one gives none
        }
    ]


async def test_who_never_did_anything_was_last_seen_when_they_came(api: Api, admin: str) -> None:
    await add_user(api.db, "client-ada", created_at=LONG_AGO)
    (user,) = await got(api, USERS, admin)
    assert user["lastSeen"] == user["createdAt"] == "2020-01-01T00:00:00.000Z"
    assert (user["email"], user["name"]) == (None, "client-ada")


async def test_a_coach_is_listed_with_clients_and_hours_of_this_week(api: Api, admin: str) -> None:
    carl = await add_user(api.db, "coach-carl", role="coach", coach_level="senior")
    ada = await add_user(api.db, "client-ada")
    bob = await add_user(api.db, "client-bob")
    now = datetime.now(UTC)
    for minutes in (54, 30):
        await add_session(
            api.db, coach_id=carl, user_id=ada, started_at=now, duration_seconds=minutes * 60
        )
    before = week_began() - timedelta(seconds=1)
    await add_session(api.db, coach_id=carl, client_identity="visitor", started_at=before)
    await api.db.execute(
        "INSERT INTO appointments (id, client_id, coach_id) VALUES (gen_random_uuid(), %s, %s)",
        [bob, carl],
    )
    (coach,) = await got(api, COACHES, admin)
    assert coach["clientCount"] == 3
    assert coach["weeklyHours"] == 1.4
    assert (coach["totalSessions"], coach["totalMinutes"]) == (3, 86)
    assert (coach["isAvailable"], coach["coachLevel"]) == (False, "senior")


@pytest.mark.parametrize("path", [USERS, COACHES])
async def test_lists_of_people_go_on_behind_the_link(api: Api, admin: str, path: str) -> None:
    for number in range(5):
        await add_user(
            api.db, f"c-{number}", role="coach", created_at=LONG_AGO + timedelta(days=number)
        )
    seen, url = [], f"{path}?limit=2"
    while url:
        answer = await api.get(url, admin)
        seen += [user["name"] for user in answer.json()]
        await add_user(api.db, f"new-{len(seen)}", role="coach")
        url = answer.links.get("next", {}).get("url", "")
    assert seen == ["c-4", "c-3", "c-2", "c-1", "c-0"]


async def test_metrics_count_what_is_there(api: Api, admin: str) -> None:
    now = datetime.now(UTC)
    carl = await add_user(api.db, "coach-carl", role="coach", last_active_at=now)
    await add_user(api.db, "coach-old", role="coach", last_active_at=now - timedelta(days=3))
    ada = await add_user(api.db, "client-ada")
    for room in ("one", "two"):
        await add_session(api.db, status="active", user_id=ada, coach_id=carl, room_name=room)
    await add_session(api.db, status="active", client_identity="visitor", room_name="two")
    await add_session(api.db, ended_at=now, started_at=now, duration_seconds=150)
    await add_session(api.db, ended_at=now, started_at=now, status="cancelled", end_reason="error")
    await add_session(api.db, started_at=LONG_AGO)
    metrics = await got(api, METRICS, admin)
    assert metrics["totalUsers"] == 3
    assert metrics["activeUsers"] == 2
    assert metrics["activeRooms"] == 2
    assert metrics["totalCoaches"] == 2
    assert metrics["coachesByActivity"] == {
        "recent1h": 1,
        "recent1d": 1,
        "recent1w": 2,
        "recent1m": 2,
    }
    assert metrics["clientVoiceMinutes"] == {"today": 3, "week": 3, "month": 3}
    assert metrics["systemHealth"] == {
        "api": "healthy",
        "database": "healthy",
        "livekit": "down",
        "skool": "degraded",
    }
    assert metrics["skoolSyncStatus"] == {
        "lastRun": None,
        "success": False,
        "membersFound": 0,
        "newMembers": 0,
    }


async def test_a_sync_run_that_is_told_many_times_at_once_is_one(api: Api) -> None:
    run = {"finishedAt": "2026-11-20T03:00:00Z", "success": True}
    key = await api.key("internal")
    answers = await asyncio.gather(*(api.post(SYNC_RUNS, key, run) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    stored = await (await api.db.execute("SELECT count(*) FROM sync_runs")).fetchone()
    assert stored == (1,)


async def test_a_reported_sync_run_is_what_metrics_show(api: Api, admin: str) -> None:
    internal = await api.key("internal")
    run = {"finishedAt": "2026-11-20T03:00:00Z", "success": False, "error": "no answer"}
    for _ in range(2):
        answer = await api.post(SYNC_RUNS, internal, run)
        assert answer.status_code == 201, answer.text
    shown = (await got(api, METRICS, admin))["skoolSyncStatus"]
    assert shown == {
        "lastRun": "2026-11-20T03:00:00.000Z",
        "success": False,
        "error": "no answer",
        "membersFound": 0,
        "newMembers": 0,
    }
    stored = await (await api.db.execute("SELECT count(*) FROM sync_runs")).fetchone()
    assert stored == (1,), "told twice, it is one"


@pytest.mark.parametrize(
    "run",
    [
        {"finishedAt": "2126-01-01T00:00:00Z", "success": True},
        {"finishedAt": "soon", "success": True},
        {"finishedAt": "2026-11-20T03:00:00Z"},
        {"finishedAt": "2026-11-20T03:00:00Z", "success": True, "membersFound": -1},
        {"finishedAt": "2026-11-20T03:00:00Z", "success": True, "system": "other"},
    ],
)
async def test_a_run_that_cannot_be_is_refused(api: Api, run: dict[str, Any]) -> None:
    answer = await api.post(SYNC_RUNS, await api.key("internal"), run)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "details"}


async def test_a_sync_run_wants_the_internal_scope(api: Api, admin: str) -> None:
    assert (await api.post(SYNC_RUNS, admin, {})).status_code == 403


async def test_workers_and_jobs_are_listed_as_they_are(api: Api, admin: str) -> None:
    for host, pid, runs_for, stopped in (("one", 1, 60, None), ("two", 2, -60, None)):
        await api.db.execute(
            "INSERT INTO worker_leases (worker_id, host, pid, version, expires_at, stopped_at,"
            " memory_bytes, cpu_percent) VALUES (gen_random_uuid(), %s, %s, '1',"
            " now() + %s * interval '1 second', %s, 1000, 12.5)",
            (host, pid, runs_for, stopped),
        )
    await api.db.execute(
        "INSERT INTO worker_leases (worker_id, host, pid, version, expires_at, stopped_at)"
        " VALUES (gen_random_uuid(), 'three', 3, '1', now(), now())"
    )
    await api.db.execute(
        "INSERT INTO worker_leases (worker_id, host, pid, version, expires_at)"
        " VALUES (gen_random_uuid(), 'long ago', 4, '1', now() - interval '9 days')"
    )
    await api.db.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
    own, *others = await got(api, "/api/admin/processes", admin)
    assert (own["name"], own["status"]) == ("api", "online")
    assert own["memory"] > 0
    found = {process["name"]: process for process in others}
    assert {name: process["status"] for name, process in found.items()} == {
        "worker one": "online",
        "worker two": "errored",
        "worker three": "stopped",
        "jobs": "online",
    }
    assert (found["worker one"]["memory"], found["worker one"]["cpu"]) == (1000, 12.5)
    assert found["worker three"]["memory"] is None
    assert set(own) == {"name", "pm_id", "status", "memory", "cpu", "uptime"}


async def test_a_call_with_a_key_shows_its_user_active(api: Api, admin: str) -> None:
    ada = await add_user(api.db, "client-ada")
    await add_user(api.db, "client-bob")
    await api.get("/api/me", await api.key("client", identity="client-ada"))
    found = await api.db.execute("SELECT id FROM users WHERE last_active_at IS NOT NULL")
    assert await found.fetchall() == [(ada,)]
