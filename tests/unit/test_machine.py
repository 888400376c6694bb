"""What `coach up` says of its page, and of a worker that it stops."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from rich.console import Console

from agent.local import page, parts, up
from agent.local.interrupts import Interrupts
from agent.local.machine import Machine
from agent.local.screen import Screen
from agent.settings import Settings

Prepare = Callable[..., Callable[[], str]]


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Prepares a page in some state, and gives what building it says on the screen."""

    def prepare(
        build: str = "", *, source: bool = True, there: bool, current: bool
    ) -> Callable[[], str]:
        said = io.StringIO()
        made = Machine(Settings(), tmp_path, Screen(Console(file=said, width=500)), Interrupts())
        monkeypatch.setattr(page, "can_be_built", lambda: source)
        monkeypatch.setattr(page, "is_there", lambda: there)
        monkeypatch.setattr(page, "is_current", lambda: current)
        monkeypatch.setattr(parts, "command", lambda *_: [sys.executable, "-c", build])

        def run() -> str:
            made.begin_page()
            made.await_page()
            return said.getvalue()

        return run

    return prepare


def test_a_page_that_is_there_is_not_spoken_of(prepared: Prepare) -> None:
    assert prepared("raise SystemExit(1)", there=True, current=True)() == ""


def test_a_page_that_cannot_be_built_is_missing_and_it_is_said_why(prepared: Prepare) -> None:
    said = prepared("raise SystemExit('no registry')", there=False, current=False)()
    assert "missing, everything else works: no registry: see " in said
    assert "page.log" in said


def test_an_older_page_is_better_than_none(prepared: Prepare) -> None:
    said = prepared("raise SystemExit('no registry')", there=True, current=False)()
    assert "is an older one" in said
    assert "no registry" in said


def test_a_package_without_source_and_page_says_so(prepared: Prepare) -> None:
    said = prepared(source=False, there=False, current=False)()
    assert "this package came without it" in said


def test_a_page_that_was_built_is_named(prepared: Prepare) -> None:
    said = prepared("pass", there=True, current=False)()
    assert "page             built" in said


def test_the_link_that_signs_in_has_its_key_in_the_fragment_alone() -> None:
    """A query is sent, logged and passed on to other sites; a fragment stays in the browser."""
    link = urlsplit(up._join_url("http://127.0.0.1:8000/", "demo", "vck_1+2"))
    assert parse_qs(link.query) == {"room": ["demo"], "role": ["client"]}
    assert parse_qs(link.fragment) == {"key": ["vck_1+2"]}


@pytest.mark.parametrize(
    ("worker", "whole"),
    [
        ("", True),  # told while it is still being loaded
        ("signal.signal(15, lambda *_: exit(0))", True),
        ("signal.signal(15, lambda *_: exit(3))", False),
    ],
)
def test_only_a_worker_that_left_something_undone_is_told_of(
    worker: str, whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    made = Machine(Settings(), tmp_path, Screen(Console(file=said, width=500)), Interrupts())
    program = f"import signal; {worker or 'pass'}; print('ready', flush=True); signal.pause()"
    monkeypatch.setattr(parts, "command", lambda *_: [sys.executable, "-c", program])
    part = made._part("worker", "start", {}, lambda child: bool(child.output()), 10)
    made._begin(part)
    made._supervision.await_ready(part)
    assert made.stop() is whole
    assert ("is kept on disk" in said.getvalue()) is not whole
