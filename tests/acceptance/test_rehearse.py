"""`coach rehearse` against real deployments: it passes on a healthy one, and only there."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from databases import fresh_database
from deployment import Deployment, Providers

from agent.local import loopback, rehearse
from agent.local.client import SAMPLE_RATE
from agent.local.livekit_server import LiveKitServer
from agent.local.processes import Children, wait_until
from agent.local.providers import lines, tones
from agent.local.rehearsal import verdict
from agent.local.rehearsal.conversation import Bounds, Script
from agent.local.rehearse import Target
from persistence import keys
from persistence.keys import NewKey

CLIENT = "client-rehearsal"


async def in_tones(text: str) -> bytes:
    """Say one of the script's sentences as the scripted recogniser hears it."""
    (id_,) = lines.utterances_in(text)
    return tones.encode(id_, sample_rate=SAMPLE_RATE)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rehearsals say what the scripted recogniser hears: two sentences, others in each room."""

    def script(number: int, _minutes: float | None) -> Script:
        said = [lines.utterance(number * 10 + n) for n in (1, 2)]
        return Script(said, len(said), voice=in_tones)

    monkeypatch.setattr(rehearse, "script", script)


@pytest.fixture(scope="module")
def target(served: Deployment) -> Iterator[Target]:
    """The deployment's API, and a key that is enough."""
    with api_of(served) as url:
        yield Target(url, key_in(served.database_url, "admin", "client"))


@pytest.mark.usefixtures("scripted")
def test_a_healthy_deployment_passes_with_each_word_beside_its_caption(
    target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two sessions at once: one JSON object on standard output, and no cross-talk."""
    code = rehearse.run(url=target.url, api_key=target.key, sessions=2, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (code, told["ok"]) == (0, True), told
    assert len(told["latency"]["each"]) == 4
    assert 0 < told["latency"]["median"] <= told["latency"]["p95"]
    for number, session in enumerate(told["sessions"]):
        said = [lines.utterance(number * 10 + n) for n in (1, 2)]
        answers = [lines.reply(number * 10 + n) for n in (1, 2)]
        rows = session["transcript"]
        assert [row["stored"] for row in rows if row["speaker"] == "client"] == said
        assert [row["stored"] for row in rows if row["speaker"] == "ai"][1:] == answers
        assert [row["captioned"] for row in rows] == [row["stored"] for row in rows]
        assert session["wordErrorRate"] == 0
        assert session["heardSeconds"] > 1
        assert (session["end"]["status"], session["end"]["reason"]) == ("completed", "client_left")
        assert 0 < session["end"]["completedAfter"] < Bounds().completion
        assert session["receipt"]["turnCount"] == len(rows) == 5
        assert session["receipt"]["completeness"] == "complete"
    assert len({session["room"] for session in told["sessions"]}) == 2


HARM = """
    IF NEW.role <> 'client' THEN RETURN NEW; END IF;
    IF NEW.text LIKE '%zero two%' THEN RETURN NULL; END IF;
    NEW.text := replace(NEW.text, 'number', 'numbers'); RETURN NEW;
"""


@pytest.mark.usefixtures("scripted")
def test_it_fails_and_says_where_when_postgres_has_other_words(
    served: Deployment, target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the client's two turns the first is altered on its way in, the second is lost."""
    with harmed(served.database_url):
        code = rehearse.run(url=target.url, api_key=target.key, as_json=True)
    (session,) = json.loads(capsys.readouterr().out)["sessions"]
    assert code == 1
    altered, lost = "not what was captioned", "captioned, and not in Postgres"
    different = [row for row in session["transcript"] if row["difference"]]
    assert [(row["captioned"], row["difference"]) for row in different] == [
        (lines.utterance(1), altered),
        (lines.utterance(2), lost),
    ]
    assert session["failures"] == [
        f"turn 2, client: {altered}",
        f"row 4, client: {lost}",
        "the turns in Postgres are not those that the receipt names",
    ]


async def test_it_fails_where_nobody_answers(served: Deployment, target: Target) -> None:
    """The API calls an agent that nobody runs; whoever comes in the end comes too late."""
    bounds = Bounds(agent=1, completion=0.5)
    with api_of(served, COACH_AGENT_NAME="nobody") as url:
        (record,) = await rehearse.rehearse(
            Target(url, target.key), [rehearse.script(0, None)], bounds
        )
    assert record.completed_seconds is None
    assert verdict.failures(record) == [
        "no agent came within 1 s",
        "no audio of the AI was heard",
        "Postgres holds no session of this room",
    ]


def test_it_says_in_one_line_why_there_is_nothing_to_rehearse_with(
    target: Target,
    served: Deployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, nothing on standard output, and never a traceback."""
    monkeypatch.chdir(tmp_path)
    reader = key_in(served.database_url, "admin")
    nowhere = f"http://127.0.0.1:{loopback.free_port()}"
    for url, given, said in [
        (None, None, "nothing to rehearse with"),
        (target.url, None, "no key"),
        (target.url, "ä", "the key is none"),
        (target.url, f"{target.key[:-1]}-", "the key was refused"),
        (target.url, reader, "the scopes admin and client"),
        (nowhere, target.key, "cannot reach"),
        (served.providers.url, target.key, "404"),
        ("coach.example", target.key, "--url is the API's"),
    ]:
        code = rehearse.run(url=url, api_key=given)
        told = capsys.readouterr()
        assert (code, told.out) == (2, ""), told
        assert said in told.err
        assert len(told.err.splitlines()) == 1, told.err


@pytest.mark.full
def test_the_command_passes_on_real_speech(
    livekit: LiveKitServer,
    postgres_url: str,
    template_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """espeak-ng speaks, the offline recogniser hears: misspelt perhaps, and kept as it was."""
    folder = tmp_path_factory.mktemp("offline")
    children = Children(folder)
    databases = fresh_database(postgres_url, template_database)
    deployment = Deployment(livekit, offline(children), next(databases), folder, children)
    worker = deployment.start_worker()
    try:
        with api_of(deployment) as url:
            key = key_in(deployment.database_url, "admin", "client")
            done = coach("rehearse", "--json", "--url", url, "--key", key, cwd=folder)
    finally:
        deployment.stop_worker(worker)
        children.stop(deployment.providers.child, 5)
        next(databases, None)
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True), done
    (session,) = told["sessions"]
    assert len(session["spoken"]) == 4
    assert session["wordErrorRate"] < 1
    assert session["receipt"]["turnCount"] == len(session["transcript"]) >= 9


def coach(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder without a `coach up`."""
    command = [sys.executable, "-m", "agent.cli", *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=170, check=False
    )


@contextmanager
def api_of(deployment: Deployment, **environment: str) -> Iterator[str]:
    port = loopback.free_port()
    command = [sys.executable, "-m", "agent.cli", "api", "--port", str(port)]
    child = deployment.children.spawn("api", command, deployment.environment(**environment))
    wait_until(lambda: loopback.status(port) is not None, child, 60)
    yield f"http://127.0.0.1:{port}"
    deployment.children.stop(child, 15)


@contextmanager
def harmed(database_url: str) -> Iterator[None]:
    """Let Postgres do harm to turns as they come in."""
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute(
            "CREATE FUNCTION harm() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {HARM} END $$".encode()
        )
        db.execute(
            "CREATE TRIGGER harm BEFORE INSERT ON turns FOR EACH ROW EXECUTE FUNCTION harm()"
        )
        try:
            yield
        finally:
            db.execute("DROP FUNCTION harm CASCADE")


def key_in(database_url: str, *scopes: str) -> str:
    """Make a key in the database."""
    made = keys.generate()
    new: dict[str, Any] = {"name": "rehearsal", "scopes": list(scopes), "identity": CLIENT}

    async def create() -> None:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as db:
            await keys.create(db, made, NewKey(**new))

    asyncio.run(create())
    return made


def offline(children: Children) -> Providers:
    command = [sys.executable, "-m", "agent.local.providers", "--brain", "offline"]
    child = children.spawn("offline", command, dict(os.environ))
    wait_until(lambda: any(line.startswith("{") for line in child.output()), child, 30)
    said = json.loads(next(line for line in child.output() if line.startswith("{")))
    return Providers(child, said["url"], said["deepgram"], said["openai"])
