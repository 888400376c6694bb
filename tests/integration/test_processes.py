"""Children that are looked after: ended in order, killed when late, found when orphaned."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from agent.local import processes, state
from agent.local.processes import Child, ChildDiedError, Children

MARKER = "COACH_TEST_MARKER"

SLEEPER = "print('up', flush=True); import signal; signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEPER
PARENT_OF_ONE = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {SLEEPER!r}])
{SLEEPER}
"""
SUPERVISOR = """
import os, sys
from pathlib import Path
from agent.local.processes import Children, wait_until
children = Children(Path(sys.argv[1]))
for number in range(2):
    child = children.spawn(f"part-{number}", [sys.executable, "-c", sys.argv[2]], os.environ)
    wait_until(lambda: "up" in child.output(), child, 20)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(MARKER, str(tmp_path))
    return str(tmp_path)


@pytest.fixture
def children(tmp_path: Path, marker: str) -> Children:
    return Children(tmp_path)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def marked(marker: str) -> list[psutil.Process]:
    """Every other process that has the test's marker in its environment."""
    return [p for p in psutil.process_iter() if p.pid != os.getpid() and _has(p, marker)]


def _has(process: psutil.Process, marker: str) -> bool:
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and process.environ().get(MARKER) == marker
    except psutil.Error:
        return False


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        processes.pause()


def said_up(child: Child, times: int = 1) -> Callable[[], bool]:
    return lambda: child.output().count("up") == times


def start(children: Children, code: str, times: int = 1) -> Child:
    child = children.spawn("part", python(code), os.environ)
    processes.wait_until(said_up(child, times), child, 20)
    return child


def test_a_child_that_is_stopped_ends_by_itself_in_time(children: Children, marker: str) -> None:
    """SIGTERM first: no child that listens to it is killed."""
    child = start(children, SLEEPER)
    assert children.stop(child, deadline=10)
    assert child.process.returncode == -signal.SIGTERM
    assert marked(marker) == []


def test_a_child_that_was_stopped_before_is_left_alone(
    children: Children, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number may be another process's by now."""
    child = start(children, SLEEPER)
    children.stop(child, deadline=10)
    killed: list[int] = []
    monkeypatch.setattr(processes, "_kill_session", killed.append)
    assert children.stop(child, deadline=10)
    assert killed == []


def test_a_child_that_ignores_the_stop_is_killed_after_its_deadline(
    children: Children, marker: str
) -> None:
    child = start(children, STUBBORN)
    assert not children.stop(child, deadline=0.2)
    assert child.process.returncode == -signal.SIGKILL
    assert marked(marker) == []


def test_what_a_child_started_ends_with_it(children: Children, marker: str) -> None:
    child = start(children, PARENT_OF_ONE, times=2)
    assert len(marked(marker)) == 2
    children.stop(child, deadline=10)
    assert marked(marker) == []


def test_an_exception_from_the_wait_makes_a_stop_short(children: Children, marker: str) -> None:
    """The second Ctrl-C: nothing is left, and the caller hears of it."""

    def hurry() -> None:
        raise InterruptedError

    child = start(children, STUBBORN)
    with pytest.raises(InterruptedError):
        children.stop(child, deadline=60, pause=hurry)
    assert marked(marker) == []


def test_a_child_that_dies_at_start_is_reported_with_its_last_lines(children: Children) -> None:
    child = children.spawn("part", python("print('no such disk'); raise SystemExit(3)"), os.environ)
    with pytest.raises(ChildDiedError, match=r"part ended with status 3(.|\n)*no such disk"):
        processes.wait_until(lambda: False, child, 20)
    children.stop(child, deadline=1)


def test_a_command_that_is_not_there_is_reported(children: Children) -> None:
    child = children.spawn("part", ["no-such-program"], os.environ)
    with pytest.raises(ChildDiedError, match="no-such-program: No such file"):
        processes.wait_until(lambda: False, child, 20)
    children.stop(child, deadline=1)


def test_a_child_that_is_never_ready_is_reported(children: Children) -> None:
    child = start(children, SLEEPER)
    with pytest.raises(ChildDiedError, match="was not ready after 0 s"):
        processes.wait_until(lambda: False, child, 0.1)
    children.stop(child, deadline=10)


def test_logs_and_state_are_for_their_owner_alone(children: Children, tmp_path: Path) -> None:
    child = start(children, SLEEPER)
    for path in (child.log, tmp_path / "children.json"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert child.log.parent.stat().st_mode & 0o077 == 0
    children.stop(child, deadline=10)


def test_a_log_goes_on_after_a_restart_and_begins_anew_with_a_new_parent(
    children: Children, tmp_path: Path
) -> None:
    for parent, lines in ((children, 1), (children, 2), (Children(tmp_path), 1)):
        child = start(parent, SLEEPER)
        parent.stop(child, deadline=10)
        assert child.output() == ["up"]
        assert child.log.read_text().splitlines() == ["up"] * lines


def test_a_thread_may_not_start_a_child(children: Children) -> None:
    """The kernel would kill the child when the thread ends."""
    refused: list[BaseException] = []

    def spawn() -> None:
        try:
            children.spawn("part", python(SLEEPER), os.environ)
        except RuntimeError as error:
            refused.append(error)

    thread = threading.Thread(target=spawn)
    thread.start()
    thread.join()
    assert "main thread" in str(refused[0])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends them")
def test_children_of_a_killed_parent_are_killed_with_it(tmp_path: Path, marker: str) -> None:
    with supervisor(tmp_path, SLEEPER) as parent:
        assert len(marked(marker)) == 3
        parent.kill()
        until(lambda: marked(marker) == [])


def test_what_a_killed_parent_left_is_ended_by_the_next_one(tmp_path: Path, marker: str) -> None:
    """A child's own child outlives both: the next start finds it by the state file."""
    with supervisor(tmp_path, PARENT_OF_ONE) as parent:
        parent.kill()
        parent.wait()
    until(lambda: len(marked(marker)) == (2 if sys.platform == "linux" else 4))
    assert Children(tmp_path).end_orphans() == ["part-0", "part-1"]
    assert marked(marker) == []
    assert Children(tmp_path).end_orphans() == []


def test_a_process_that_has_an_orphans_pid_by_chance_is_left_alone(
    children: Children, tmp_path: Path, marker: str
) -> None:
    child = start(children, SLEEPER)
    entry = {"name": "part", "pid": child.process.pid, "created": child.created - 3600}
    state.write_private(tmp_path / "children.json", json.dumps([entry]))
    assert Children(tmp_path).end_orphans() == []
    assert child.running()
    children.stop(child, deadline=10)


@pytest.mark.parametrize("content", ["", "{", "[{}"])
def test_a_torn_state_file_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / "children.json").write_text(content)
    assert Children(tmp_path).end_orphans() == []


def test_a_state_folder_has_one_owner_who_is_named_to_others(tmp_path: Path) -> None:
    folder = state.prepare(tmp_path)
    with state.own(folder):
        with pytest.raises(state.AlreadyRunningError, match=f"process {os.getpid()} has"):
            state.own(folder)
        state.own(state.prepare(_other(tmp_path))).close()
    state.own(folder).close()


def _other(tmp_path: Path) -> Path:
    other = tmp_path / "another-checkout"
    other.mkdir()
    return other


def supervisor(folder: Path, code: str) -> subprocess.Popen[bytes]:
    """Start a process with two children in `folder`; return it when both have said `up`."""
    parent = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(folder), code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    return parent
