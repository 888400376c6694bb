"""How the shipper hears of something new."""

from __future__ import annotations

import asyncio
import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from journaling import ROOMY, turn
from shipping import until

from persistence.journal import JournalWriter, Wakeups, wake_address
from persistence.journal import wakeups as wakeups_module
from persistence.journal.wakeups import Waker


@pytest.fixture
def wakeups(tmp_path: Path) -> Iterator[Wakeups]:
    listening = Wakeups(tmp_path)
    yield listening
    listening.close()


async def test_a_commit_wakes_the_shipper_and_says_how_much_is_durable(
    tmp_path: Path, wakeups: Wakeups
) -> None:
    session_id = uuid4()
    waiting = asyncio.create_task(wakeups.wait(20))
    journal = JournalWriter.create(tmp_path, session_id, max_bytes=ROOMY)
    journal.append(turn(1))
    woken = await waiting
    assert woken == {session_id: (tmp_path / f"{session_id}.journal").stat().st_size}
    assert journal.close(10)


async def test_no_wakeup_is_nothing(wakeups: Wakeups) -> None:
    assert await wakeups.wait(0.01) == {}


async def test_wakeups_that_find_the_queue_full_come_again(
    tmp_path: Path, wakeups: Wakeups
) -> None:
    """The kernel holds ten datagrams by default."""
    queued = 0
    full = Waker(tmp_path, uuid4())
    while full.wake(1):
        queued += 1
        assert queued < 100_000
    full.close()
    sessions = {uuid4() for _ in range(20)}
    journals = [JournalWriter.create(tmp_path, one, max_bytes=ROOMY) for one in sessions]
    for journal in journals:
        journal.append(turn(1))
        assert await journal.durable(10)
    woken: set[UUID] = set()
    async with asyncio.timeout(20):
        while not sessions <= woken:
            woken |= set(await wakeups.wait(20))
    assert all(journal.close(10) for journal in journals)


async def test_the_socket_of_a_killed_worker_is_taken_over(tmp_path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    stale.bind(os.fspath(wake_address(tmp_path)))
    stale.close()
    wakeups, waker = Wakeups(tmp_path), Waker(tmp_path, UUID(int=7))
    assert waker.wake(1)
    assert await wakeups.wait(10) == {UUID(int=7): 1}
    waker.close()
    wakeups.close()
    assert not wake_address(tmp_path).exists()


async def test_a_long_path_listens_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 20) / ("path" * 20)
    deep.mkdir(parents=True)
    assert deep not in wake_address(deep).parents
    assert wake_address(deep) != wake_address(deep.parent)
    wakeups, waker = Wakeups(deep), Waker(deep, UUID(int=7))
    assert waker.wake(1)
    assert await wakeups.wait(10) == {UUID(int=7): 1}
    assert wake_address(deep).stat().st_mode & 0o777 == 0o600
    waker.close()
    wakeups.close()


async def test_nobody_listening_and_nonsense_heard_disturb_nobody(
    tmp_path: Path, wakeups: Wakeups
) -> None:
    lonely = Waker(tmp_path / "nobody", uuid4())
    assert lonely.wake(1)
    lonely.close()
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for datagram in (b"", b"\xff\xfe", b"x" * 4000, str(uuid4()).encode()):
        sender.sendto(datagram, os.fspath(wake_address(tmp_path)))
    sender.close()
    assert await wakeups.wait(1) == {}


async def test_a_shipper_that_cannot_listen_polls(tmp_path: Path) -> None:
    wake_address(tmp_path).mkdir()
    wakeups = Wakeups(tmp_path)
    assert await wakeups.wait(0.01) == {}
    wakeups.close()


async def test_a_queue_that_stays_full_is_not_knocked_at_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipper looks by itself: many sessions that keep waking it would only hold it up."""
    knocks: list[UUID] = []

    def full(waker: Waker, durable: int) -> bool:
        knocks.append(UUID(int=7))
        return False

    monkeypatch.setattr(Waker, "wake", full)
    monkeypatch.setattr(wakeups_module, "_NO_MORE_SECONDS", 4 * wakeups_module._AGAIN_SECONDS)
    journal = JournalWriter.create(tmp_path, uuid4(), max_bytes=ROOMY)
    journal.append(turn(1))
    assert await journal.durable(20)
    await until(lambda: knocks and journal._knocks.again_at == math.inf)
    assert len(knocks) == 3
    assert journal.close(20)
