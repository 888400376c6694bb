"""`coach chaos`: it finds nothing in what is sound, and names what is wrong in what is broken."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import broken_products
import psutil
import pytest
from missing import give_up

from agent.local import livekit_server, postgres_programs, toxiproxy
from agent.local import wrong_clock as wrong_clocks
from agent.local.chaos import campaigns, job, worker
from agent.local.chaos.campaigns import FAILED, INTERRUPTED, PASSED, Wanted
from agent.local.processes import pause

CLOCKS = ["clock_jumped", "clock_lost"]
WHICH = shutil.which
COMMAND = [sys.executable, "-m", "agent.cli", "chaos"]


@pytest.fixture(autouse=True)
def programs() -> None:
    if postgres_programs.installed() is None:
        give_up("no Postgres here: `uv sync` brings it")
    if toxiproxy.PROGRAM.find() is None and not os.environ.get("CI") and not shutil.which("go"):
        give_up("no Toxiproxy on this machine: install toxiproxy-server or Go")


def played(folder: Path, **wanted: Any) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the report of a run."""
    file = folder / "report.json"
    given = {"faults": 1, "rooms": 0, "folder": folder / "state", "json_file": file}
    code = campaigns.run(Wanted(**{**given, **wanted}))
    return code, json.loads(file.read_text())


def found(report: dict[str, Any], level: str = "process") -> dict[str, int]:
    return {kind: n for kind, n in report["levels"][level]["findings"].items() if n}


def test_a_campaign_finds_nothing_and_a_second_run_prints_what_the_first_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # whoever edits the code while this runs would have the second run begin anew
    monkeypatch.setattr(campaigns, "fingerprint", lambda: "code")
    code, report = played(tmp_path)
    level = report["levels"]["process"]
    assert (code, found(report)) == (PASSED, {})
    assert level["faults"] == sum(level["by_kind"].values()) >= 1
    assert level["spoken"] >= level["due"] > 0
    (ledger,) = (tmp_path / "state").glob("ledger-*")
    before = ledger.read_bytes()
    assert played(tmp_path) == (code, report)
    assert ledger.read_bytes() == before
    assert not list((tmp_path / "state").glob("evidence-*"))


MANY = 60
"""Faults in which every one of the mistakes comes to light; seconds, as many."""


SEED = 4
"""Of plans in which enough of every kind is among the first."""
FAR_BEHIND = 49
"""Of plans in which a clock is hours behind for as long as a lease lasts."""


def broken(body: Callable[..., None], *kinds: str) -> Any:
    return pytest.param(body, {*kinds}, MANY, marks=(pytest.mark.full, pytest.mark.chaos))


@pytest.mark.parametrize(
    ("body", "kinds", "faults"),
    [
        (broken_products.forgetful_worker, {"lost", "untrue receipt"}, 1),
        broken(broken_products.stammering_worker, "doubled"),
        broken(broken_products.quarrelsome_worker, "refused"),
        broken(broken_products.jealous_worker, "reclaimed"),
        broken(broken_products.untruthful_worker, "untrue end"),
        broken(broken_products.idle_worker, "jobs"),
        broken(broken_products.eager_worker, "jobs"),
        broken(broken_products.lazy_job, "lost"),
        broken(broken_products.deaf_job, "lost"),
        broken(broken_products.confused_job, "misattributed"),
        broken(broken_products.impatient_job, "lost"),
    ],
)
def test_a_product_that_is_broken_is_found_out_and_the_evidence_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    body: Callable[..., None],
    kinds: set[str],
    faults: int,
) -> None:
    monkeypatch.setattr(worker if "worker" in body.__name__ else job, "run", body)
    found_out(tmp_path, kinds, faults)


@pytest.mark.full
@pytest.mark.chaos
@pytest.mark.usefixtures("wrong_clock")
@pytest.mark.parametrize(
    ("body", "kinds", "seed"),
    [
        (broken_products.clockwatching_job, {"misordered", "untrue end"}, SEED),
        (broken_products.drowsy_job, {"untrue end"}, SEED),
        (broken_products.solitary_worker, {"reclaimed"}, FAR_BEHIND),
    ],
)
def test_a_product_that_goes_by_the_wall_clock_is_found_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    body: Callable[..., None],
    kinds: set[str],
    seed: int,
) -> None:
    monkeypatch.setattr(worker if "worker" in body.__name__ else job, "run", body)
    found_out(tmp_path, kinds, MANY, seed)


@pytest.mark.full
@pytest.mark.chaos
def test_where_no_clock_can_be_wrong_that_is_said_first_and_the_rest_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wrong_clocks, "_cached", lambda: tmp_path / "wrong_clock.so")
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "cc" else WHICH(name))
    code, report = played(tmp_path, faults=MANY, seed=SEED)
    assert (code, found(report)) == (PASSED, {})
    assert not set(CLOCKS) & set(report["levels"]["process"]["by_kind"])
    (clocks,) = (one for one in report["left_out"] if one["kinds"] == CLOCKS)
    first, *more = capsys.readouterr().err.splitlines()
    assert first == f"left out: clock_jumped, clock_lost: {clocks['why']}"
    assert "apt-get install gcc" in clocks["why"]
    assert more


def found_out(folder: Path, kinds: set[str], faults: int, seed: int = SEED) -> None:
    """Play, and find what is broken, with the evidence kept."""
    code, report = played(folder, faults=faults, seed=seed)
    assert code == FAILED
    assert kinds <= set(found(report))
    replay = report["failures"][0]["replay"]
    number = int(replay.removeprefix(f"coach chaos --seed {seed} --campaign "))
    evidence = folder / "state" / f"evidence-{seed}" / f"process-{number}"
    assert json.loads((evidence / "plan.json").read_text())["number"] == number
    assert list(evidence.glob("talk-*.jsonl"))
    assert evidence.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`coach chaos`, in the middle of a campaign."""
    command = [*COMMAND, "--rooms", "0", "--state", str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("work/*/talk-0.jsonl")):
        assert process.poll() is None
        pause()
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_or_killed_leaves_no_process(
    running: subprocess.Popen[bytes], how: signal.Signals
) -> None:
    family = psutil.Process(running.pid).children(recursive=True)
    assert family
    running.send_signal(how)
    assert running.wait(60) == (INTERRUPTED if how == signal.SIGINT else -how)
    assert psutil.wait_procs(family, timeout=20)[1] == []


@pytest.mark.full
@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_a_hundred_faults_lose_no_word(tmp_path: Path) -> None:
    code, report = played(tmp_path, faults=100, seed=4)
    assert (code, found(report)) == (PASSED, {})
    assert report["levels"]["process"]["faults"] >= 100
    missing = {kind for one in report["left_out"] for kind in one["kinds"]}
    assert {*CLOCKS} - missing <= set(report["levels"]["process"]["by_kind"])


@pytest.mark.full
@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_rooms_with_audio_lose_no_word(tmp_path: Path) -> None:
    if livekit_server.find() is None:
        give_up("no LiveKit server on this machine")
    code, report = played(tmp_path, faults=8, rooms=8, seed=4)
    assert (code, found(report, "room")) == (PASSED, {})
