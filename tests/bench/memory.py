"""How much memory the worker takes, and one job of it, beside a bare agent's.

Proportional set size, summed over the worker's processes: what several of them share counts once.
Both are started by turns with the same options against the same servers, never at the same time,
since two workers would share what is one's alone in production. Where the memory is, is told apart:
the parent, the forkserver with everything that jobs share, the job processes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import bare_agent
import psutil
from deployment import AGENT, Deployment, converse, greeted
from results import Bench, Result, Row, mebibytes
from samples import percentile
from stand import database, running, scripted_providers

from agent.local import livekit_server
from agent.local.livekit_server import LiveKitServer
from agent.local.processes import Child, Children

GOAL = 1.05
IDLE_PROCESSES = 2
UTTERANCES = (5, 6, 7, 8)
"""What is said before a job's memory is taken."""
SETTLED_SHARE = 0.005
SETTLED_LOOKS = 6
LOOK_SECONDS = 0.5
SETTLE_SECONDS = 60.0
WITHOUT_TURN_MODEL = {"LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0", "OPENBLAS_NUM_THREADS": "1"}
"""Where the voice detector alone decides on turns, the worker sets this for itself."""
BARE = [sys.executable, bare_agent.__file__]
COACH = [sys.executable, "-m", "agent.cli", "start"]


@dataclass(frozen=True)
class Memory:
    """Bytes, by kind of process."""

    parent: int
    forkserver: int
    jobs: tuple[int, ...]
    """Idle processes and running jobs, the largest first."""
    others: int

    @property
    def whole(self) -> int:
        return self.parent + self.forkserver + sum(self.jobs) + self.others


@dataclass(frozen=True)
class Taken:
    """One start of one worker."""

    idle: Memory
    talking: Memory
    """With one job, in a conversation."""

    @property
    def job(self) -> int:
        return self.talking.jobs[0]


def measure(bench: Bench) -> Result:
    children = Children(bench.folder)
    with (
        database(bench.folder) as url,
        scripted_providers(children) as providers,
        _livekit(children, bench.folder) as livekit,
    ):
        deployment = Deployment(livekit, providers, url, bench.folder, children)
        coach, bare = [], []
        for number in range(bench.size(2, 1)):
            bare.append(_taken(deployment, "bare", BARE, bare_agent.AGENT, number))
            bench.report(f"bare {number + 1}: {mebibytes(bare[-1].idle.whole)} idle")
            coach.append(_taken(deployment, "coach", COACH, AGENT, number))
            bench.report(f"coach {number + 1}: {mebibytes(coach[-1].idle.whole)} idle")
    return _result(coach, bare)


def _result(coach: list[Taken], bare: list[Taken]) -> Result:
    rows = [
        _compared(
            f"idle worker, {IDLE_PROCESSES} warm processes",
            [taken.idle.whole for taken in coach],
            [taken.idle.whole for taken in bare],
        ),
        _compared("one job", [taken.job for taken in coach], [taken.job for taken in bare]),
        _compared(
            "worker with one job",
            [taken.talking.whole for taken in coach],
            [taken.talking.whole for taken in bare],
        ),
        Row("idle, coach", _parts(coach[-1].idle)),
        Row("idle, bare", _parts(bare[-1].idle)),
    ]
    data = {
        "goalRatio": GOAL,
        "idleProcesses": IDLE_PROCESSES,
        "coachBytes": [asdict(taken) for taken in coach],
        "bareBytes": [asdict(taken) for taken in bare],
    }
    return Result(rows, data)


def _compared(what: str, coach: list[int], bare: list[int]) -> Row:
    ours, theirs = percentile(coach, 0.5), percentile(bare, 0.5)
    value = f"{ours / theirs:.3f}x: {mebibytes(ours)}, bare {mebibytes(theirs)}"
    return Row(what, value, f"at most {GOAL}x", ours <= GOAL * theirs)


def _parts(memory: Memory) -> str:
    jobs = " + ".join(mebibytes(job) for job in memory.jobs)
    return (
        f"parent {mebibytes(memory.parent)}, forkserver {mebibytes(memory.forkserver)}, jobs {jobs}"
    )


def _taken(deployment: Deployment, name: str, command: list[str], agent: str, number: int) -> Taken:
    """Start a worker, look at it idle, talk to it, and look again."""
    environment = deployment.environment(
        COACH_IDLE_PROCESSES=str(IDLE_PROCESSES), **WITHOUT_TURN_MODEL
    )
    with running(deployment.children, name, command, "worker_registered", environment) as worker:
        idle = _settled(worker)
        talking = asyncio.run(_talking(deployment, worker, agent, f"{name}-{number}"))
    return Taken(idle, talking)


async def _talking(deployment: Deployment, worker: Child, agent: str, room: str) -> Memory:
    await deployment.make_room(room, agent=agent)
    client = await deployment.client(room)
    await greeted(client)
    await converse(client, *UTTERANCES)
    memory = await asyncio.to_thread(_settled, worker)
    await client.leave()
    return memory


def _settled(worker: Child) -> Memory:
    """Return the memory of `worker` once it does not change any more.

    Raises RuntimeError if it never rests.
    """
    looks: list[Memory] = []
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        looks.append(_look(worker.process.pid))
        last = [look.whole for look in looks[-SETTLED_LOOKS:]]
        whole_pool = len(looks[-1].jobs) >= IDLE_PROCESSES
        if (
            whole_pool
            and len(last) == SETTLED_LOOKS
            and min(last) > max(last) * (1 - SETTLED_SHARE)
        ):
            return looks[-1]
    raise RuntimeError(f"the memory of {worker.name} never came to rest")


def _look(pid: int) -> Memory:
    """Return what the worker `pid` takes now."""
    parent = psutil.Process(pid)
    jobs, forkserver, others = [], 0, 0
    for process in parent.children(recursive=True):
        try:
            size = _pss(process.pid)
            if process.ppid() != pid:
                jobs.append(size)
            elif "multiprocessing.forkserver" in " ".join(process.cmdline()):
                forkserver = size
            else:
                others += size
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue
    return Memory(_pss(pid), forkserver, tuple(sorted(jobs, reverse=True)), others)


def _pss(pid: int) -> int:
    """Return the proportional set size of a process in bytes (Linux)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


@contextmanager
def _livekit(children: Children, folder: Path) -> Iterator[LiveKitServer]:
    binary = livekit_server.find_or_build(children, report=lambda _line: None)
    server = livekit_server.start(children, binary, livekit_server.credentials(folder))
    try:
        yield server
    finally:
        livekit_server.stop(children, server)
