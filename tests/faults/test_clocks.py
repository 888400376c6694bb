"""Wall clocks that jump, or are wrong from the start: nothing that is stored changes places for it.

The worker and its jobs see another clock than the machine (`agent.local.wrong_clock`); Postgres,
LiveKit, the providers and the client keep theirs, and what they saw is what counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from deployment import Deployment, converse, eventually
from killing import Stage, kill_group, outcome
from shipping import shipping, stored, until

from agent.local.wrong_clock import WrongClock

HOUR = 3600
_TALKER = """
import asyncio, json, sys
from pathlib import Path
from truth import Talk
talk = Talk.begin(Path(sys.argv[1]))
for order in sys.stdin:
    talk.end() if order == "end\\n" else talk.exchange()
    assert asyncio.run(talk.scribe.journal.durable(10))
    print(json.dumps([piece.text for piece in talk.spoken]), flush=True)
"""


class Talker:
    """A session without audio in a process whose clock is wrong; it says what was said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def told(self, order: str = "exchange") -> list[str]:
        """Have it exchange words, or `end`; return all that was said, which is on disk now."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        return list(json.loads(self.process.stdout.readline()))


@contextmanager
def talking(folder: Path, clock: WrongClock) -> Iterator[Talker]:
    """Begin a session whose journal is in `folder`; whatever goes on at the end is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", _TALKER, str(folder)],
        env={**os.environ, **clock.environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Talker(process)
        process.kill()


def test_a_clock_can_be_made_wrong_and_the_monotonic_one_stays_right(
    wrong_clock: WrongClock,
) -> None:
    """What the other tests rest on."""
    script = "import sys, time\nfor line in sys.stdin: print(time.time(), time.monotonic())"
    with subprocess.Popen(
        [sys.executable, "-uc", script],
        env=wrong_clock.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        readings = []
        for seconds in (0, HOUR, -HOUR):
            wrong_clock.jump(seconds)
            process.stdin.write("\n")
            process.stdin.flush()
            readings.append([float(reading) for reading in process.stdout.readline().split()])
        process.stdin.close()
    now, ahead, behind = (wall for wall, _ in readings)
    assert (round((ahead - now) / HOUR), round((behind - now) / HOUR)) == (1, -1)
    assert readings[2][1] - readings[0][1] < HOUR / 2


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_jump_moves_no_turn_and_stretches_nothing(
    jump: int, wrong_clock: WrongClock, tmp_path: Path, database_url: str
) -> None:
    """What was said in which order, and when, is told by who listens with the right clock."""
    began = datetime.now(UTC)
    with talking(tmp_path, wrong_clock) as talker:
        talker.told()
        wrong_clock.jump(jump)
        talker.told()
        wrong_clock.jump(0)
        talker.told()
        said = talker.told("end")
    over = datetime.now(UTC)
    async with shipping(database_url, tmp_path):
        await until(lambda: [row for row in stored(database_url) if row["ended_at"]])
    (session,) = stored(database_url)
    turns = sorted(stored(database_url, "turns"), key=lambda t: (t["started_at"], t["seq"]))
    assert " ".join(turn["text"] for turn in turns) == " ".join(said)
    assert all(began <= t["started_at"] <= t["ended_at"] <= session["ended_at"] for t in turns)
    assert session["ended_at"] <= over
    assert session["duration_seconds"] <= (over - began).total_seconds()


async def test_a_session_that_was_killed_has_not_lived_until_its_clock_was_put_right(
    wrong_clock: WrongClock, tmp_path: Path, database_url: str
) -> None:
    """Its last sign of life is of its own clock, which was an hour behind."""
    wrong_clock.jump(-HOUR)
    began = datetime.now(UTC)
    with talking(tmp_path, wrong_clock) as talker:
        talker.told()
        wrong_clock.jump(0)
        said = talker.told()
    over = datetime.now(UTC)
    async with shipping(database_url, tmp_path):
        await until(lambda: [row for row in stored(database_url) if row["ended_at"]])
    (session,) = stored(database_url)
    turns = sorted(stored(database_url, "turns"), key=lambda t: (t["started_at"], t["seq"]))
    assert (session["status"], session["completeness"]) == ("cancelled", "recovered")
    assert " ".join(turn["text"] for turn in turns) == " ".join(said)
    assert 0 < session["duration_seconds"] <= (over - began).total_seconds()


@pytest.mark.full
@pytest.mark.parametrize("hours", [5, -5])
async def test_no_session_is_reclaimed_for_a_clock_that_is_hours_wrong(
    deployment: Deployment, wrong_clock: WrongClock, hours: int, stage: Stage
) -> None:
    """Leases are by Postgres's clock alone: neither the wrong worker's nor others' are run out."""
    short = {"COACH_LEASE_SECONDS": "3", "COACH_LEASE_RENEWAL_SECONDS": "0.5"}
    deployment.start_worker("right", **short)
    scene = await stage(f"right{hours}")
    wrong_clock.jump(hours * HOUR)
    elsewhere = {"COACH_JOURNAL_DIR": str(deployment.folder / f"elsewhere{hours}")}
    command = [sys.executable, "-m", "agent.cli", "start"]
    environment = deployment.environment(**short, **elsewhere, **wrong_clock.environment)
    wrong = deployment.children.spawn("wrong", command, environment)
    deployment.workers.append(wrong)

    async def reclaimed_twice() -> bool:
        """Whether the wrong worker has had the time to do harm: two leases long."""
        rows = await deployment.query(
            "SELECT FROM worker_leases WHERE pid = %s AND renewed_at > started_at"
            " + interval '6 s' AND expires_at > now()",
            wrong.process.pid,
        )
        return bool(rows)

    await eventually(reclaimed_twice, 40)
    lives = await scene.row()
    assert (lives["status"], lives["reclaimed_at"]) == ("active", None)
    await converse(scene.client, 41)
    await scene.leave()
    assert outcome(await scene.ended()) == ("completed", "client_left", "complete")
    assert await scene.wrong() == []
    kill_group(deployment, wrong)
