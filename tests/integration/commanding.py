"""The command line in this process, on the test's own database."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from agent import cli

Coach = Callable[..., str]


@pytest.fixture
def coach(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database_url: str
) -> Coach:
    """Runs the command line; returns what it printed, expects it to succeed or end with `code`."""
    monkeypatch.setattr("agent.logs.configure", lambda _: None)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["coach", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert ended.value.code == code, said.err
        return said.out

    return run
