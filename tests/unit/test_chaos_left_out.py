"""What cannot be broken on this machine is said, with what it takes, and is not in the way."""

from __future__ import annotations

import shutil
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from agent.local import wrong_clock
from agent.local.chaos import small_disk
from agent.local.chaos.ledger import Ledger
from agent.local.chaos.left_out import LeftOut, left_out
from agent.local.chaos.plan import Level
from agent.local.chaos.report import Report

CLOCKS = LeftOut(["clock_jumped", "clock_lost"], "no C compiler")


@pytest.fixture(autouse=True)
def everything_else_can_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(small_disk, "possible", lambda: True)
    monkeypatch.setattr(wrong_clock, "_cached", lambda: tmp_path / "cache" / "wrong_clock.so")


def compiler(folder: Path, body: str) -> str:
    path = folder / "cc"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_where_there_is_no_compiler_clocks_that_jump_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    (one,) = left_out([Level.PROCESS])
    assert one.kinds == ["clock_jumped", "clock_lost"]
    assert "apt-get install gcc" in one.why


def test_a_compiler_without_headers_is_as_good_as_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing = compiler(tmp_path, "echo 'dlfcn.h: No such file' >&2; exit 1")
    monkeypatch.setattr(shutil, "which", lambda _: failing)
    (one,) = left_out([Level.PROCESS])
    assert "dlfcn.h: No such file" in one.why
    assert "libc6-dev" in one.why


def test_what_was_compiled_once_is_not_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    works = compiler(tmp_path, 'for out; do [ "$last" = -o ] && touch "$out"; last=$out; done')
    monkeypatch.setattr(shutil, "which", lambda _: works)
    assert left_out([Level.PROCESS]) == []
    monkeypatch.setattr(subprocess, "run", None)
    assert left_out([Level.PROCESS]) == []


def test_a_disk_that_nobody_may_mount_is_said_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "wrong_clock.so").touch()
    monkeypatch.setattr(small_disk, "possible", lambda: False)
    (one,) = left_out([Level.PROCESS, Level.ROOM])
    assert one.kinds == ["disk_full"]


def test_what_was_left_out_stands_in_the_report_and_the_ledger_is_another(tmp_path: Path) -> None:
    report = Report(7, {}, [CLOCKS])
    assert report.to_json()["left_out"] == [{"kinds": CLOCKS.kinds, "why": CLOCKS.why}]
    console = Console(file=StringIO(), width=100)
    report.show(console)
    assert "left out: clock_jumped, clock_lost: no C compiler" in console.file.getvalue()  # type: ignore[attr-defined]
    with_all, without = Ledger.of(tmp_path, 1, "code"), Ledger.of(tmp_path, 1, "code", [CLOCKS])
    assert with_all._path != without._path
