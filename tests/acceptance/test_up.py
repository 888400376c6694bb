"""`coach up` as its user has it: a process in a folder, its signals, and what is left after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from checkouts import STOP_SECONDS, Checkout
from deployment import eventually

from agent.local import running
from agent.local.client import RoomClient
from agent.local.livekit_server import LiveKitServer

# two starts take 40 CPU seconds; with a fifth of a core to itself it was seen to take 220 s
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def make_checkout(livekit: LiveKitServer, tmp_path: Path) -> Iterator[Callable[[str], Checkout]]:
    """Makes checkouts; `livekit` sees to it that there is a server's binary."""
    made: list[Checkout] = []

    def make(name: str) -> Checkout:
        (tmp_path / name).mkdir()
        made.append(Checkout(tmp_path / name))
        return made[-1]

    yield make
    for checkout in made:
        sys.stdout.write(checkout.said.read_text() if checkout.said.exists() else "")
        checkout.clear()


@pytest.fixture
def checkout(make_checkout: Callable[[str], Checkout]) -> Checkout:
    return make_checkout("checkout")


@asynccontextmanager
async def conversation(ready: dict[str, str]) -> AsyncIterator[RoomClient]:
    """A client in the room that was offered, with the coach there."""
    client = await RoomClient().join(ready["livekitUrl"], ready["token"])
    try:
        await client.until(lambda c: c.agent_state() is not None, 30)
        yield client
    finally:
        await client.leave()


async def session_begun(checkout: Checkout, count: int) -> None:
    async def begun() -> bool:
        return len(checkout.sessions()) == count

    await eventually(begun, 15)


def no_log_has(checkout: Checkout, secrets: list[str]) -> bool:
    """Return whether no secret is in a log, and none of the logs is for others to read."""
    logs = list((checkout.folder / "var/logs").iterdir())
    assert {"api", "livekit-server", "providers", "worker"} <= {log.stem for log in logs}
    assert not any(log.stat().st_mode & 0o077 for log in logs)
    said = "".join(log.read_text() for log in [*logs, checkout.said])
    return not any(secret in said for secret in secrets)


def interrupted(process: subprocess.Popen[str], number: int = signal.SIGINT) -> int:
    process.send_signal(number)
    return process.wait(STOP_SECONDS)


async def test_one_ctrl_c_completes_the_sessions_and_leaves_no_process(
    checkout: Checkout,
) -> None:
    """Ready, a conversation, Ctrl-C; the next start has the session, completed, in its database."""
    process, ready = checkout.up()
    refused = checkout.begin()
    assert refused.wait(STOP_SECONDS) == 2
    assert f"process {process.pid} has var/up.lock" in checkout.said.read_text()

    assert checkout.transcripts(ready) == []
    secrets = checkout.secrets(ready)

    async with conversation(ready):
        await session_begun(checkout, 1)
        assert interrupted(process) == 0, checkout.said.read_text()
    assert checkout.left() == []
    assert running.find(checkout.folder) is None
    assert no_log_has(checkout, secrets)

    again, _ = checkout.up()
    (session,) = checkout.sessions()
    assert (session["status"], session["end_reason"]) == ("completed", "worker_shutdown")
    assert session["completeness"] == "complete"
    assert interrupted(again, signal.SIGTERM) == 0
    assert checkout.left() == []


async def test_a_kill_is_recovered_from_by_the_next_start(checkout: Checkout) -> None:
    """Orphans are ended, the session that was cut off is ended, and the next one goes well."""
    process, ready = checkout.up()
    async with conversation(ready):
        await session_begun(checkout, 1)
        process.kill()
        process.wait()
    process, ready = checkout.up()

    await eventually(checkout.has_none_active, 30)
    (session,) = checkout.sessions()
    assert (session["status"], session["end_reason"]) == ("cancelled", "worker_lost")
    async with conversation(ready):
        await session_begun(checkout, 2)
    assert interrupted(process) == 0
    assert checkout.left() == []


async def left_nothing(checkout: Checkout) -> bool:
    return checkout.left() == []


@pytest.mark.full
async def test_a_kill_leaves_no_process_and_the_next_start_has_every_word(
    checkout: Checkout,
) -> None:
    process, ready = checkout.up()
    said = "I sleep badly when the moon is full."
    async with conversation(ready) as client:
        await session_begun(checkout, 1)
        await client.until(lambda c: c.agent_captions(), 60)  # typed sooner it cuts the greeting
        await client.type(said)
        await client.until(lambda c: len(c.agent_captions()) > 1, 60)
        process.kill()
        process.wait()
        await eventually(lambda: left_nothing(checkout), 30)
    again, _ = checkout.up()
    await eventually(checkout.has_none_active, 30)
    (session,) = checkout.sessions()
    assert session["completeness"] in ("complete", "recovered")
    assert checkout.texts("client") == [said]
    assert interrupted(again) == 0
    assert checkout.left() == []


def test_it_stops_as_well_before_it_is_ready(checkout: Checkout) -> None:
    process = checkout.begin()
    while "Postgres         started" not in checkout.said.read_text():
        assert process.poll() is None, checkout.said.read_text()
    assert interrupted(process) == 130
    assert checkout.left() == []


@pytest.mark.full
def test_a_part_that_dies_is_started_again_and_one_that_all_need_ends_everything(
    checkout: Checkout,
) -> None:
    process, ready = checkout.up()
    os.kill(checkout.pid("api"), signal.SIGKILL)
    while "runs again" not in checkout.said.read_text():
        assert process.poll() is None, checkout.said.read_text()
    with urllib.request.urlopen(ready["apiUrl"], timeout=10) as response:
        assert response.status == 200
    assert "api ended with signal 9" in checkout.said.read_text()
    os.kill(checkout.pid("livekit-server"), signal.SIGKILL)
    assert process.wait(STOP_SECONDS) == 1
    assert "livekit-server ended with signal 9" in checkout.said.read_text()
    assert checkout.left() == []


def test_a_port_that_was_asked_for_and_is_taken_is_refused(
    checkout: Checkout, livekit: LiveKitServer
) -> None:
    taken = livekit.url.rpartition(":")[2]
    process = checkout.begin("--port", taken)
    assert process.wait(STOP_SECONDS) == 2
    assert f"port {taken} of 127.0.0.1 is taken" in checkout.said.read_text()
    assert checkout.left() == []


def test_a_livekit_url_without_its_key_is_refused(checkout: Checkout) -> None:
    process = checkout.begin(LIVEKIT_URL="ws://127.0.0.1:7880")
    assert process.wait(STOP_SECONDS) == 2
    assert "LIVEKIT_API_KEY is missing" in checkout.said.read_text()


@pytest.mark.full
async def test_a_second_ctrl_c_hurries_and_a_session_ends_all_the_same(checkout: Checkout) -> None:
    process, ready = checkout.up(COACH_DRAIN_SECONDS="600")
    async with conversation(ready):
        await session_begun(checkout, 1)
        process.send_signal(signal.SIGINT)
        while "stopping" not in checkout.said.read_text():
            assert process.poll() is None, checkout.said.read_text()
        interrupted(process)
    assert checkout.left() == []
    again, _ = checkout.up()
    await eventually(checkout.has_none_active, 30)
    assert interrupted(again) == 0


@pytest.mark.full
async def test_two_checkouts_run_at_once(make_checkout: Callable[[str], Checkout]) -> None:
    one, two = make_checkout("one"), make_checkout("two")
    (first, ready_one), (second, ready_two) = one.up(), two.up()
    assert all(ready_one[name] != ready_two[name] for name in ready_one)
    async with conversation(ready_one), conversation(ready_two):
        await session_begun(one, 1)
        await session_begun(two, 1)
    assert interrupted(first) == 0
    assert one.left() == []
    async with conversation(ready_two):
        await session_begun(two, 2)
    assert interrupted(second) == 0
    assert two.left() == []
