"""Keys and sessions from the command line, on a real database."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from typing import Any
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest
from commanding import Coach
from serving import NOBODY, add_session, add_turns, add_user

from persistence import database, keys, migrate
from persistence.events import transcript_sha256
from persistence.keys import Key


def find(url: str, key: str) -> Key | None:
    async def look() -> Key | None:
        async with await database.connect(url, "test") as db:
            return await keys.find(db, key)

    return asyncio.run(look())


def test_a_key_is_shown_once_and_works(coach: Coach, database_url: str) -> None:
    options = ["--scope", "client", "--identity", "client-ada", "--room", "demo", "--room", "b"]
    key = coach("keys", "create", "--name", "Ada's phone", *options, "--expires", "30d").strip()
    assert re.fullmatch(r"vck_[A-Za-z0-9_-]{43}", key)
    found = find(database_url, key)
    assert found is not None
    assert (found.name, found.scopes, found.identity) == ("Ada's phone", ["client"], "client-ada")
    assert found.rooms == ["demo", "b"]
    assert found.expires_at is not None
    assert (found.expires_at - found.created_at).days == 30
    listed = coach("keys", "list")
    assert "Ada's phone" in listed
    assert key not in listed
    assert key not in coach("keys", "list", "--json")


def test_a_revoked_key_is_listed_and_works_no_more(coach: Coach, database_url: str) -> None:
    made = json.loads(coach("keys", "create", "--name", "x", "--scope", "admin", "--json"))
    assert find(database_url, made["key"]) is not None
    assert made["id"] in coach("keys", "revoke", made["id"])
    again = json.loads(coach("keys", "revoke", made["id"], "--json"))
    assert again == {"id": made["id"], "revoked": True}
    assert find(database_url, made["key"]) is None
    (listed,) = json.loads(coach("keys", "list", "--json"))
    assert (listed["id"], listed["scopes"]) == (made["id"], ["admin"])
    assert listed["revokedAt"].endswith("Z")
    assert "revoked" in coach("keys", "list")
    coach("keys", "revoke", str(uuid4()), code=2)


def told(url: str, **changes: Any) -> UUID:
    """Add a session in which the AI was interrupted."""

    async def add() -> UUID:
        async with await database.connect(url, "test") as db:
            ada = await add_user(db, "client-ada", display_name="Ada [bold]")
            said = [
                ("client", "client-ada", "I \x1b[31mthink[/red] so", False),
                ("ai", None, "What would", True),
            ]
            digest = transcript_sha256(
                (n, f"item-{n}", role, who, text, cut)
                for n, (role, who, text, cut) in enumerate(said, start=1)
            )
            receipt = {"turn_count": 2, "transcript_sha256": digest, "completeness": "complete"}
            session = await add_session(db, user_id=ada, end_reason="client_left", **receipt)
            turns: list[dict[str, Any]] = [
                {"role": role, "speaker_identity": who, "text": text, "interrupted": cut}
                for role, who, text, cut in said
            ]
            turns[0]["user_id"] = ada
            turns[1]["generated_text"] = "What would a good week look like?"
            await add_turns(db, session, turns)
            return session

    return asyncio.run(add())


def test_sessions_are_listed_and_filtered(coach: Coach, database_url: str) -> None:
    session = str(told(database_url))
    table = coach("sessions", "list")
    assert session in table
    assert "Ada [bold]" in table, "markup in a name is a name"
    (found,) = json.loads(coach("sessions", "list", "--text", "SO", "--json"))
    assert (found["id"], found["messageCount"]) == (session, 2)
    assert "no sessions" in coach("sessions", "list", "--text", "nothing like it")
    assert json.loads(coach("sessions", "list", "--status", "active", "--json")) == []


def test_a_session_shows_what_was_heard_what_was_meant_and_its_receipt(
    coach: Coach, database_url: str
) -> None:
    session = str(told(database_url))
    shown = coach("sessions", "show", session)
    assert "09:00:01" in shown
    assert "AI Coach" in shown
    assert "What would — interrupted" in shown
    assert "meant: What would a good week look like?" in shown
    assert "complete, 2 turns" in shown
    assert "these are the turns" in shown
    assert "client_left" in shown
    assert "think[/red] so" in shown, "markup in speech is speech"
    assert "\x1b[31mthink" not in shown, "and the terminal obeys nothing that was said"
    body = json.loads(coach("sessions", "show", session, "--json"))
    assert [m["speakerRole"] for m in body["messages"]] == ["client", "ai"]


def test_a_receipt_that_names_other_turns_is_shown_as_such(coach: Coach, database_url: str) -> None:
    session = told(database_url)
    with psycopg.connect(database_url) as db:
        db.execute("DELETE FROM turns WHERE role = 'ai'")
    assert "the turns here are others" in coach("sessions", "show", str(session))


def test_an_unknown_session_is_said_to_be_so(coach: Coach) -> None:
    coach("sessions", "show", str(uuid4()), code=2)


@pytest.mark.parametrize("option", ["--client", "--text"])
def test_bytes_that_are_no_text_are_a_bad_argument(coach: Coach, option: str) -> None:
    """As Python gives them to us: with a lone surrogate for each."""
    coach("sessions", "list", option, "\udcff", code=2)


def api_process(database_url: str, port: str) -> subprocess.Popen[str]:
    livekit = {"LIVEKIT_URL": NOBODY, "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s" * 32}
    return subprocess.Popen(
        [sys.executable, "-m", "agent.cli", "api", "--port", port],
        env={**os.environ, **livekit, "DATABASE_URL": database_url},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_api_as_a_process_serves_logs_no_queries_and_stops_when_told(
    database_url: str,
) -> None:
    with api_process(database_url, "0") as api:
        assert api.stderr is not None
        lines = []
        for line in api.stderr:
            lines.append(line)
            if "Application startup complete" in line:
                break
        port = next(json.loads(x)["port"] for x in lines if "api_listening" in x)
        url = f"http://127.0.0.1:{port}"
        assert "voice-coach" in httpx2.get(url, trust_env=False).text
        wanted = f"{url}/api/admin/transcripts?text=purple-heron"
        assert httpx2.get(wanted, trust_env=False).status_code == 401
        with api_process(database_url, str(port)) as second:
            _, said = second.communicate(timeout=60)
            assert second.returncode == 1
            assert said.splitlines()[-1].startswith("coach: [Errno")
            assert "Traceback" not in said
        api.send_signal(signal.SIGTERM)
        rest = api.stderr.read()
        assert api.wait(30) == 0
    assert "heron" not in "".join(lines) + rest
    assert '"route": "/api/admin/transcripts"' in rest


def test_the_api_does_not_start_on_an_older_schema(empty_database_url: str) -> None:
    with api_process(empty_database_url, "0") as api:
        _, said = api.communicate(timeout=60)
    assert api.returncode == 1
    (message,) = said.splitlines()
    assert "coach migrate" in message


def test_migrate_brings_an_empty_database_to_this_version(
    coach: Coach, monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    for _ in range(2):
        assert coach("migrate").strip() == f"the schema is at {migrate.head()}"


def test_without_a_database_url_the_postgres_of_a_running_coach_up_is_used(
    coach: Coach, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setattr("agent.local.running.database_url", lambda _: database_url)
    assert "no keys" in coach("keys", "list")
    monkeypatch.setattr("agent.local.running.database_url", lambda _: None)
    coach("keys", "list", code=2)
