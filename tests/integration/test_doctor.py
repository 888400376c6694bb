"""`coach doctor`: every fault of a deployment is named, with what to do, and no secret is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from commanding import Coach
from psycopg import sql
from shipping import T0, conversation, execute, journal

from agent.doctor import livekit, providers
from agent.settings import Settings
from persistence import migrate
from persistence.disk import try_lock

NOBODY = "ws://127.0.0.1:1"


@pytest.fixture
def deployment_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, coach: Coach
) -> Coach:
    """Runs `coach doctor` in an empty folder on settings that name the test's database."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "LIVEKIT_URL": NOBODY,
        "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "secret-heron" * 4,
        "DEEPGRAM_API_KEY": "deepgram-heron",
        "OPENAI_API_KEY": "openai-heron",
    }.items():
        monkeypatch.setenv(name, value)
    return coach


def report(coach: Coach, *arguments: str, code: int = 1) -> dict[str, dict[str, Any]]:
    """Return the checks by area and name; the report must be unhealthy unless `code` is 0."""
    said = coach("doctor", "--json", *arguments, code=code)
    assert "heron" not in said
    body = json.loads(said)
    assert body["healthy"] == (code == 0)
    return {f"{c['area']}: {c['name']}": c for c in body["checks"]}


def lease(url: str, worker: object = None, *, expires: str = "1 minute") -> None:
    execute(
        url,
        "INSERT INTO worker_leases (worker_id, host, pid, version, expires_at)"
        f" VALUES (%s, 'h', 1, '1', now() + interval '{expires}')",
        worker or uuid4(),
    )


def test_a_sound_deployment_is_healthy(
    deployment_of: Coach, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answers(_: object) -> list[Any]:
        return []

    monkeypatch.setattr(livekit, "examine", answers)
    lease(database_url)
    found = report(deployment_of, code=0)
    assert found["Postgres: schema"]["level"] == "ok"
    assert found["workers: alive"]["found"] == "1"
    assert found["settings: settings"]["level"] == "ok"
    assert "can wait" in deployment_of("doctor")


def test_a_setting_whose_name_is_misspelt_is_told_and_never_its_value(
    deployment_of: Coach, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("COACH_PIPLINE=heron\nCOACH_NONSENSE=heron\n")
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    monkeypatch.setenv("COACH_API_PROT", "heron")
    monkeypatch.setenv("COACH_API_KEY", "heron")
    found = report(deployment_of)
    assert found["settings: COACH_PIPLINE"]["advice"] == "is COACH_PIPELINE meant?"
    assert found["settings: COACH_API_PROT"]["advice"] == "is COACH_API_PORT meant?"
    assert found["settings: COACH_NONSENSE"]["level"] == "note"
    assert "settings: COACH_API_KEY" not in found


def test_what_is_wrong_with_the_records_is_listed(deployment_of: Coach, database_url: str) -> None:
    lost = uuid4()
    lease(database_url, lost, expires="-1 minute")
    active = "INSERT INTO sessions (id, worker_id, started_at) VALUES (%s, %s, %s)"
    execute(database_url, active, uuid4(), lost, T0)
    letter = "INSERT INTO dead_letters (id, session_id, kind, payload, digest, sqlstate)"
    execute(database_url, f"{letter} VALUES (%s, %s, 'turn', '', '', '22000')", uuid4(), uuid4())
    job = "INSERT INTO procrastinate_jobs (queue_name, task_name, status, scheduled_at)"
    execute(database_url, f"{job} VALUES ('default', 'summarise', 'failed', now())")
    execute(
        database_url,
        f"{job} VALUES ('default', 'summarise', 'todo', now() - interval '1 hour')",
    )
    # as the end of a session defers them: at once, so that no time is said
    execute(database_url, f"{job} VALUES ('default', 'summarise', 'todo', NULL)")
    execute(database_url, "UPDATE procrastinate_events SET at = now() - interval '1 hour'")
    execute(database_url, f"{job} VALUES ('default', 'summarise', 'todo', NULL)")
    found = report(deployment_of)
    for name, what in {
        "workers: alive": "none",
        "workers: lost in the last day": "1",
        "sessions: active without a live worker": "1",
        "sessions: dead letters": "1 of turn 22000",
        "jobs: failed: summarise": "1",
        "jobs: overdue": "2, for more than 10 min",
        "LiveKit: reachable": "no: ClientConnectorError",
    }.items():
        assert found[name]["found"] == what
        assert found[name]["advice"]


def test_what_a_dead_worker_left_is_counted_and_what_a_live_one_has_is_not(
    deployment_of: Coach, database_url: str, tmp_path: Path
) -> None:
    journals = tmp_path / "var" / "journal"
    left, held = journals / str(uuid4()), journals / str(uuid4())
    for folder in (left, held):
        session_id = journal(folder, conversation(uuid4()))
        (folder / f"{session_id}.journal").chmod(0o600)
        (folder / "worker.lock").touch(0o600)
        folder.chmod(0o700)
    journals.chmod(0o700)
    with next(left.glob("*.journal")).open("ab") as file:
        file.write(b"torn")
    lock = try_lock(held / "worker.lock")
    assert lock is not None
    found = report(deployment_of)
    lock.close()
    assert found["journals: left behind"]["found"] == "1 folder with 5 events"
    assert found["journals: damage"]["found"] == "4 bytes are no event"
    assert found["journals: directory"]["found"] == "writable, 1 worker folder"
    assert "journals: modes" not in found
    held.chmod(0o755)
    next(left.glob("*.journal")).chmod(0o644)
    assert report(deployment_of)["journals: modes"]["found"] == "2 are open to others"
    assert [path.name for path in journals.iterdir()] != []
    assert not list(journals.glob(".check-*")), "what was tried out is gone"


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"LIVEKIT_API_KEY": ""}, {"settings: LIVEKIT_API_KEY"}),
        ({"COACH_API_PORT": "99999", "COACH_PIPELINE": "heron"},
         {"settings: COACH_API_PORT", "settings: COACH_PIPELINE"}),
        ({"OPENAI_API_KEY": ""}, {"providers: OpenAI"}),
        ({"DATABASE_URL": "postgresql://u:heron@host:5x/db"}, {"settings: DATABASE_URL"}),
        ({"DATABASE_URL": "postgresql://u:heron@127.0.0.1:1/db"}, {"Postgres: reachable"}),
    ],
)  # fmt: skip
def test_one_fault_keeps_no_other_part_from_being_looked_at(
    deployment_of: Coach,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    names: set[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = report(deployment_of)
    assert {name for name in names if found[name]["level"] == "bad"} == names
    assert "journals: directory" in found
    assert "providers: Deepgram" in found


def test_an_older_schema_is_named(
    deployment_of: Coach, monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    found = report(deployment_of)
    assert found["Postgres: version"]["level"] == "ok"
    assert "coach migrate" in found["Postgres: schema"]["advice"]


def test_a_role_is_judged_by_what_it_may(
    deployment_of: Coach, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    role = f"worker_{uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    try:
        owned = report(deployment_of)["Postgres: rights"]
        monkeypatch.setenv("DATABASE_URL", as_role(database_url, role))
        poor = report(deployment_of)
        migrate.grant(database_url, role)
        granted = report(deployment_of)["Postgres: rights"]
    finally:
        with psycopg.connect(database_url, autocommit=True) as db:
            name = sql.Identifier(role)
            db.execute(sql.SQL("DROP OWNED BY {}").format(name))
            db.execute(sql.SQL("DROP ROLE {}").format(name))
    assert (owned["level"], granted["level"]) == ("note", "ok")
    assert "superuser" in owned["found"]
    assert poor["Postgres: rights"]["level"] == "bad"
    assert "coach migrate --grant" in poor["Postgres: rights"]["advice"]
    assert {check["level"] for check in poor.values() if check["area"] == "sessions"} == set()


def as_role(url: str, role: str) -> str:
    """Return `url` for another role."""
    parts = psycopg.conninfo.conninfo_to_dict(url) | {"user": role}
    parts.pop("password", None)
    host = str(parts.pop("host"))
    name, user = parts.pop("dbname"), parts.pop("user")
    rest = "&".join(f"{k}={v}" for k, v in {"host": host, **parts}.items())
    return f"postgresql://{user}@/{name}?{rest}"


def test_a_read_only_postgres_is_named(deployment_of: Coach, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as db:
        name = sql.Identifier(db.info.dbname)
        db.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
    assert report(deployment_of)["Postgres: writable"]["found"] == "read-only"


@pytest.mark.parametrize(
    ("status", "level", "found"),
    [(200, "ok", "yes"), (404, "ok", "yes"), (401, "bad", "refuses"), (503, "bad", "errors")],
)
async def test_providers_are_asked_with_their_keys_and_told_apart(
    status: int, level: str, found: str
) -> None:
    asked = {}

    async def answer(request: web.Request) -> web.Response:
        asked[request.path] = request.headers["Authorization"]
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        checks = await providers.examine(
            Settings(
                _env_file=None,
                deepgram_api_key="deepgram-heron",
                deepgram_base_url=str(server.make_url("/v1/listen")),
                openai_api_key="openai-heron",
                openai_base_url=str(server.make_url("/v1")),
            )
        )
    assert asked == {
        "/v1/projects": "Token deepgram-heron",
        "/v1/models": "Bearer openai-heron",
    }
    assert [check.level.value for check in checks] == [level, level]
    assert all(found in check.found and "heron" not in check.found for check in checks)


async def test_a_provider_that_is_away_is_named() -> None:
    away = Settings(
        _env_file=None, openai_api_key="openai-heron", openai_base_url="http://127.0.0.1:1/v1"
    )
    [check] = await providers.examine(away)
    assert (check.level.value, check.found) == ("bad", "no: ClientConnectorError")
