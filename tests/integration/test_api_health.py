"""Health as it is: measured, recorded, and shown when Postgres is away too."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psutil
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from serving import Api, add_session, serving, settings

from agent.api import health
from agent.local.livekit_server import LiveKitServer
from persistence.health import Check
from persistence.ids import new_id

HEALTH = "/api/admin/health"


async def shown(api: Api) -> dict[str, Any]:
    answer = await api.get(HEALTH, await api.key("admin"))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def statuses(api: Api) -> dict[str, str]:
    return {service["name"]: service["status"] for service in (await shown(api))["services"]}


async def add_lease(api: Api, *, seconds: int, stopped: bool = False) -> str:
    """Add a lease that has `seconds` to run."""
    worker = str(uuid4())
    await api.db.execute(
        """INSERT INTO worker_leases (worker_id, host, pid, version, expires_at, stopped_at)
           VALUES (%s, 'h', 1, '1', now() + %s * interval '1 second',
                   CASE WHEN %s THEN now() END)""",
        (worker, seconds, stopped),
    )
    return worker


async def add_sync(api: Api, *, success: bool, hours_ago: int, system: str = "skool") -> None:
    finished = datetime.now(UTC) - timedelta(hours=hours_ago)
    await api.db.execute(
        "INSERT INTO sync_runs (id, system, finished_at, success) VALUES (%s, %s, %s, %s)",
        (new_id(), system, finished, success),
    )


async def add_checks(api: Api, days_ago: int, service: str, given: list[str]) -> None:
    at = datetime.now(UTC) - timedelta(days=days_ago)
    for status in given:
        await api.db.execute(
            "INSERT INTO health_checks (id, service, status, checked_at) VALUES (%s, %s, %s, %s)",
            (new_id(), service, status, at),
        )


async def test_health_shows_this_machine_and_this_process(api: Api) -> None:
    body = await shown(api)
    assert set(body) == {"cpu", "memory", "disk", "services", "uptime", "uptimeHistory"}
    assert body["cpu"]["cores"] == psutil.cpu_count()
    assert 0 <= body["cpu"]["usage"] <= 100
    assert body["memory"]["total"] == psutil.virtual_memory().total
    assert body["disk"]["total"] == psutil.disk_usage("/").total
    for space in (body["memory"], body["disk"]):
        assert 0 < space["used"] <= space["total"]
        assert 0 < space["percentage"] <= 100
    assert body["uptime"] == {"days": 0, "hours": 0, "minutes": 0}
    for service in body["services"]:
        assert set(service) == {"name", "status", "latency", "lastCheck"}
        assert service["lastCheck"].endswith("Z")


async def test_uptime_is_given_in_days_hours_and_minutes(api: Api) -> None:
    api.app.state.resources.started -= 2 * 86400 + 3 * 3600 + 4 * 60
    assert (await shown(api))["uptime"] == {"days": 2, "hours": 3, "minutes": 4}


async def test_what_is_not_there_is_down_and_what_never_reported_is_degraded(api: Api) -> None:
    assert await statuses(api) == {
        "API Server": "healthy",
        "Database": "healthy",
        "LiveKit": "down",
        "Workers": "down",
        "Skool Sync": "degraded",
    }


async def test_livekit_is_healthy_where_it_answers(
    database_url: str, livekit: LiveKitServer
) -> None:
    async with serving(settings(database_url, livekit)) as api:
        assert (await statuses(api))["LiveKit"] == "healthy"


async def test_livekit_is_down_where_it_refuses_our_keys(
    database_url: str, livekit: LiveKitServer
) -> None:
    wrong = settings(database_url, livekit).model_copy(update={"livekit_api_key": "another"})
    async with serving(wrong) as api:
        assert (await statuses(api))["LiveKit"] == "down"


@asynccontextmanager
async def in_front(status: int, body: str, content_type: str) -> AsyncIterator[str]:
    """Give the URL of something that answers in LiveKit's place, as a proxy does."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body, content_type=content_type)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield f"ws://127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        (200, "<html>Please sign in</html>", "text/html"),
        (502, '["bad gateway"]', "application/json"),
        (502, '"bad gateway"', "application/json"),
        (404, "null", "application/json"),
    ],
)
async def test_what_is_no_answer_of_livekits_is_livekit_being_away(
    database_url: str, status: int, body: str, content_type: str
) -> None:
    async with in_front(status, body, content_type) as url:
        odd = settings(database_url).model_copy(update={"livekit_url": url})
        async with serving(odd) as api:
            assert (await statuses(api))["LiveKit"] == "down"
            answer = await api.post("/api/rooms/create", await api.key("admin"), {"roomName": "r"})
            assert answer.status_code == 503
            assert answer.json()["details"] == "LiveKit cannot be reached"


async def test_a_check_that_fails_in_whatever_way_leaves_the_others_to_be_recorded(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> health.Status:
        raise RuntimeError

    monkeypatch.setattr(health, "_livekit", fail)
    found = {
        check.service: check.status for check in await health.check_all(api.app.state.resources)
    }
    assert (found["LiveKit"], found["Database"]) == ("down", "healthy")


async def test_workers_are_judged_by_their_leases(api: Api) -> None:
    await add_lease(api, seconds=30, stopped=True)
    await add_lease(api, seconds=-1)
    assert (await statuses(api))["Workers"] == "down"
    await add_lease(api, seconds=30)
    assert (await statuses(api))["Workers"] == "healthy"
    lost = await add_lease(api, seconds=-1)
    await add_session(api.db, status="active", worker_id=lost)
    assert (await statuses(api))["Workers"] == "degraded", "its sessions wait for a reclaim"


async def test_the_sync_is_judged_by_its_latest_run(api: Api) -> None:
    await add_sync(api, success=False, hours_ago=2)
    await add_sync(api, success=False, hours_ago=0, system="another")
    assert (await statuses(api))["Skool Sync"] == "down"
    await add_sync(api, success=True, hours_ago=1)
    assert (await statuses(api))["Skool Sync"] == "healthy"


async def forget_first_check(api: Api) -> None:
    """Wait for what the application records at its start, and drop it: the next is a minute off."""
    query = "SELECT count(*) FROM health_checks"
    async with asyncio.timeout(20):
        while await (await api.db.execute(query)).fetchone() != (5,):
            pass  # each look is a round trip, in which the application goes on
    await api.db.execute("DELETE FROM health_checks")


async def test_the_history_is_thirty_days_of_recorded_checks(api: Api) -> None:
    await forget_first_check(api)
    await add_checks(api, 1, "Database", ["healthy", "healthy"])
    await add_checks(api, 1, "Skool Sync", ["down"])
    await add_checks(api, 2, "Database", ["healthy", "healthy", "healthy", "down"])
    await add_checks(api, 3, "Database", ["healthy"] * 10)
    await add_checks(api, 3, "LiveKit", ["down", "down", "healthy"])
    await add_checks(api, 30, "Database", ["down"])
    history = (await shown(api))["uptimeHistory"]
    today = datetime.now(UTC).date()
    days = [(today - timedelta(days=back)).isoformat() for back in range(29, -1, -1)]
    assert [day["date"] for day in history] == days
    found = {day["date"]: day["status"] for day in history}
    assert [found[days[-1 - back]] for back in (1, 2, 3)] == ["healthy", "degraded", "down"]
    assert {found[day] for day in days[:-4]} == {"unknown"}


async def test_checks_are_recorded_and_old_ones_dropped(api: Api) -> None:
    await forget_first_check(api)
    await add_checks(api, 32, "Database", ["healthy"])
    unrecorded = deque(await health.check_all(api.app.state.resources))
    await health._record(api.app.state.resources, unrecorded)
    rows = await (await api.db.execute("SELECT service, status FROM health_checks")).fetchall()
    assert dict(rows) == await statuses(api)
    assert len(rows) == 5
    assert not unrecorded


async def test_checks_made_while_postgres_is_away_wait_to_be_recorded(
    api: Api,
) -> None:
    await forget_first_check(api)
    outage = deque([Check("Database", "down", None, datetime.now(UTC))])
    resources = api.app.state.resources
    await api.db.execute("ALTER TABLE health_checks RENAME TO away")
    await health._record(resources, outage)
    assert len(outage) == 1
    await api.db.execute("ALTER TABLE away RENAME TO health_checks")
    await health._record(resources, outage)
    rows = await (await api.db.execute("SELECT status FROM health_checks")).fetchall()
    assert rows == [("down",)]


async def test_a_known_admin_sees_that_postgres_is_away(api: Api) -> None:
    key = await api.key("admin")
    assert (await api.get(HEALTH, key)).status_code == 200
    await api.app.state.resources.pool.close()
    answer = await api.get(HEALTH, key)
    assert answer.status_code == 200
    found = {service["name"]: service for service in answer.json()["services"]}
    assert found["Database"]["status"] == "down"
    assert found["Database"]["latency"] is None
    assert found["API Server"]["status"] == "healthy"
    assert {day["status"] for day in answer.json()["uptimeHistory"]} == {"unknown"}


async def test_health_needs_the_admin_scope(api: Api) -> None:
    assert (await api.http.get(HEALTH)).status_code == 401
    assert (await api.get(HEALTH, await api.key("coach"))).status_code == 403
