"""Sessions of dead jobs whose journal cannot be ended yet: tried again, but not all the time."""

from __future__ import annotations

import errno
import threading
import time
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from shipping import journal, started, turn
from structlog.testing import capture_logs

from persistence import dead_jobs
from persistence.dead_jobs import DeadJobs
from persistence.streams import Streams


async def test_what_a_full_disk_refuses_is_tried_again_later_or_when_there_is_hurry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal(tmp_path, [started(), turn(uuid4(), 1)])
    tries, now, full = [0.0], [100.0], [True]

    def recover(*_: object) -> bool:
        tries.append(now[0])
        if full[0]:
            raise OSError(errno.ENOSPC, "full")
        return True

    monkeypatch.setattr(dead_jobs, "recover", recover)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    jobs = DeadJobs(Streams([tmp_path], uuid4()))
    for _ in range(120):
        now[0] += 1
        await jobs.end()
    pauses = [after - before for before, after in pairwise(tries[1:])]
    assert pauses == [2, 4, 8, 16, 30, 30]
    jobs.hurry()
    full[0] = False
    await jobs.end()
    assert (tries[-1], jobs.ended) == (now[0], 1)


async def test_nobody_waits_for_a_look_and_what_went_wrong_in_it_is_said_at_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal(tmp_path, [started(), turn(uuid4(), 1)])
    asked, go_on = [], threading.Event()

    def never_known(path: Path) -> bool:
        asked.append(path)
        go_on.wait()
        raise RuntimeError

    monkeypatch.setattr(dead_jobs, "is_locked", never_known)
    jobs = DeadJobs(Streams([tmp_path], uuid4()))
    try:
        jobs.look()
        jobs.look()
    finally:
        go_on.set()
    await jobs.settled()
    assert len(asked) == 1, "one look at a time"
    with pytest.raises(RuntimeError):
        jobs.look()
    with capture_logs() as said:
        await jobs.settled()
    assert [line["event"] for line in said] == ["dead_jobs_not_looked_for"], "nobody looks again"
