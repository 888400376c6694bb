"""What a campaign of faults will do: pure, the same for the same seed, number and level.

A campaign is a few seconds in which several sessions are held while things break. Its plan says
everything that is left to chance: who speaks what and when, what breaks when, and for how long.
Times are seconds from the campaign's beginning. A machine under load may do all of it later; what
was really said, and when a process really died, is in the record of the run.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agent.local.chaos.speech import Line, Way, conversation
from persistence.events import EndReason


class Level(StrEnum):
    PROCESS = "process"
    """Journal-writing processes, shipper, leases and Postgres; no audio."""
    ROOM = "room"
    """The whole of it: rooms, audio, LiveKit server, worker, providers on the wire."""


class Kind(StrEnum):
    """What can break; a campaign counts one fault for each time that it did."""

    JOB_KILLED = "job_killed"
    JOB_STALLED = "job_stalled"
    WORKER_KILLED = "worker_killed"
    WORKER_STALLED = "worker_stalled"
    GROUP_KILLED = "group_killed"
    TORN_TAIL = "torn_tail"
    """A whole group killed in the middle of a write: half a line behind the last whole one."""
    SIGTERM = "sigterm"
    SIGTERM_TWICE = "sigterm_twice"
    SIGTERM_GROUP = "sigterm_group"
    POSTGRES_KILLED = "postgres_killed"
    POSTGRES_CRASHED = "postgres_crashed"
    """One of its backends killed: it throws everybody out and recovers."""
    POSTGRES_RESTARTED = "postgres_restarted"
    CONNECTIONS_FULL = "connections_full"
    CONNECTIONS_CUT = "connections_cut"
    READ_ONLY = "read_only"
    NET_LATENCY = "net_latency"
    NET_RESET = "net_reset"
    NET_BLACK_HOLE = "net_black_hole"
    NET_SLOW_CLOSE = "net_slow_close"
    NET_AWAY = "net_away"
    """Postgres out of reach for longer than the lease: reclaimed, then the true story."""
    DISK_FULL = "disk_full"
    CLOCK_JUMPED = "clock_jumped"
    """The wall clock of the machine that holds the sessions; some are put right again."""
    CLOCK_LOST = "clock_lost"
    """A whole group killed, and what comes back finds another time."""
    LIVEKIT_KILLED = "livekit_killed"
    CLIENT_VANISHED = "client_vanished"
    CLIENT_BACK = "client_back"
    """Vanished, and in the room again within the time to come back."""
    STT_DROPPED = "stt_dropped"
    STT_GARBAGE = "stt_garbage"
    STT_SLOW = "stt_slow"
    LLM_DROPPED = "llm_dropped"
    LLM_BUSY = "llm_busy"
    LLM_FAILED = "llm_failed"
    LLM_HANGS = "llm_hangs"
    LLM_GARBAGE = "llm_garbage"
    TTS_DROPPED = "tts_dropped"
    TTS_FAILED = "tts_failed"
    TTS_GARBAGE = "tts_garbage"


@dataclass(frozen=True)
class Fault:
    at: float
    kind: Kind
    target: int
    """Which of the sessions, where a fault hits one; the next that is under way is hit."""
    seconds: float
    """How long it lasts; for what is killed, until it is started again."""
    jump: float = 0.0
    """By how many seconds a clock is wrong then, ahead or behind."""


@dataclass(frozen=True)
class Talk:
    """One session: what is said in it, at `Line.at` seconds from its own beginning."""

    number: int
    begins: float
    lines: tuple[Line, ...]
    ends: EndReason
    """Why it ends where nothing breaks it off."""
    realtime: bool = False


@dataclass(frozen=True)
class Campaign:
    seed: int
    number: int
    level: Level
    talks: tuple[Talk, ...]
    faults: tuple[Fault, ...]
    shared_folder: bool
    """Whether the second worker sees the journals of the first, as one on the same host does."""


FAULTS_EACH: Mapping[Level, tuple[int, int]] = {Level.PROCESS: (9, 16), Level.ROOM: (4, 7)}
"""Fewest and most faults of one campaign."""

PROCESS_SECONDS = 5.0
"""In which the faults of a process campaign begin, and its sessions."""
ROOM_SECONDS = 14.0
PROCESS_TALKS = (7, 12)
PROCESS_LINES = (4, 14)
ROOM_TALKS = (2, 3)
ROOM_LINES = (3, 5)
_IDS = range(1, 1000)
"""Of utterances, as the scripted brain knows them; from 900 on its answers are long."""

_PROCESS_WEIGHTS: Mapping[Kind, int] = {
    Kind.JOB_KILLED: 20,
    Kind.JOB_STALLED: 5,
    Kind.WORKER_KILLED: 8,
    Kind.WORKER_STALLED: 4,
    Kind.GROUP_KILLED: 7,
    Kind.TORN_TAIL: 6,
    Kind.SIGTERM: 4,
    Kind.SIGTERM_TWICE: 3,
    Kind.SIGTERM_GROUP: 3,
    Kind.POSTGRES_KILLED: 3,
    Kind.POSTGRES_CRASHED: 3,
    Kind.POSTGRES_RESTARTED: 3,
    Kind.CONNECTIONS_FULL: 5,
    Kind.CONNECTIONS_CUT: 8,
    Kind.READ_ONLY: 5,
    Kind.NET_LATENCY: 5,
    Kind.NET_RESET: 6,
    Kind.NET_BLACK_HOLE: 5,
    Kind.NET_SLOW_CLOSE: 3,
    Kind.NET_AWAY: 3,
    Kind.DISK_FULL: 4,
    Kind.CLOCK_JUMPED: 12,
    Kind.CLOCK_LOST: 8,
}
_ROOM_WEIGHTS: Mapping[Kind, int] = {
    Kind.JOB_KILLED: 5,
    Kind.WORKER_KILLED: 2,
    Kind.GROUP_KILLED: 2,
    Kind.SIGTERM: 1,
    Kind.SIGTERM_GROUP: 1,
    Kind.POSTGRES_KILLED: 3,
    Kind.POSTGRES_RESTARTED: 2,
    Kind.CONNECTIONS_CUT: 3,
    Kind.NET_RESET: 3,
    Kind.NET_BLACK_HOLE: 3,
    Kind.NET_LATENCY: 3,
    Kind.CLOCK_JUMPED: 6,
    Kind.LIVEKIT_KILLED: 1,
    Kind.CLIENT_VANISHED: 3,
    Kind.CLIENT_BACK: 3,
    Kind.STT_DROPPED: 3,
    Kind.STT_GARBAGE: 2,
    Kind.STT_SLOW: 2,
    Kind.LLM_DROPPED: 3,
    Kind.LLM_BUSY: 2,
    Kind.LLM_FAILED: 2,
    Kind.LLM_HANGS: 1,
    Kind.LLM_GARBAGE: 2,
    Kind.TTS_DROPPED: 3,
    Kind.TTS_FAILED: 2,
    Kind.TTS_GARBAGE: 2,
}
WEIGHTS: Mapping[Level, Mapping[Kind, int]] = {
    Level.PROCESS: _PROCESS_WEIGHTS,
    Level.ROOM: _ROOM_WEIGHTS,
}

_SECONDS: Mapping[Kind, tuple[float, float]] = {
    Kind.JOB_STALLED: (0.1, 1.0),
    Kind.WORKER_STALLED: (0.1, 2.5),
    Kind.NET_AWAY: (2.5, 3.5),
    Kind.NET_SLOW_CLOSE: (0.2, 1.0),
    Kind.CLOCK_JUMPED: (0.2, 4.0),
}
_OTHER_SECONDS = (0.0, 1.2)
CLOCKS = frozenset({Kind.CLOCK_JUMPED, Kind.CLOCK_LOST})
_JUMPS: Mapping[Level, tuple[float, float]] = {
    Level.PROCESS: (60.0, 5 * 3600.0),
    Level.ROOM: (600.0, 5 * 3600.0),
}
"""Seconds; as many jumps by minutes as by hours. No less than what a campaign lasts: when a session
began, and by which clock, is then told by the time of its beginning."""

_LATE_KINDS = {
    Kind.WORKER_KILLED,
    Kind.GROUP_KILLED,
    Kind.SIGTERM,
    Kind.SIGTERM_GROUP,
    Kind.LIVEKIT_KILLED,
}
"""After them nobody is answered for a while: in rooms they come when something has been said."""
_LATE_SECONDS = 7.0

_ENDS = (
    EndReason.CLIENT_LEFT,
    EndReason.CLIENT_LEFT,
    EndReason.ROOM_DELETED,
    EndReason.COMPLETED_BY_AI,
)


def campaign(seed: int, number: int, level: Level) -> Campaign:
    """Return the plan of campaign `number` (from 1) of `level` under `seed`."""
    dice = random.Random(f"{seed} {level} {number}")  # noqa: S311 chance is to be repeatable here
    faults = tuple(sorted(_faults(dice, level), key=lambda fault: fault.at))
    talks = _process_talks(dice) if level is Level.PROCESS else _room_talks(dice)
    return Campaign(seed, number, level, talks, faults, shared_folder=dice.random() < 0.5)  # noqa: PLR2004


def _faults(dice: random.Random, level: Level) -> list[Fault]:
    weights = WEIGHTS[level]
    seconds = PROCESS_SECONDS if level is Level.PROCESS else ROOM_SECONDS
    kinds = dice.choices(list(weights), list(weights.values()), k=dice.randint(*FAULTS_EACH[level]))
    return [
        Fault(
            round(dice.uniform(_earliest(kind, level), seconds), 3),
            kind,
            dice.randrange(100),
            round(dice.uniform(*_SECONDS.get(kind, _OTHER_SECONDS)), 3),
            _jump(dice, level) if kind in CLOCKS else 0.0,
        )
        for kind in kinds
    ]


def _jump(dice: random.Random, level: Level) -> float:
    shortest, longest = _JUMPS[level]
    seconds: float = shortest * (longest / shortest) ** dice.random()
    return round(dice.choice((-1, 1)) * seconds, 3)


def _earliest(kind: Kind, level: Level) -> float:
    return _LATE_SECONDS if level is Level.ROOM and kind in _LATE_KINDS else 0.2


def _process_talks(dice: random.Random) -> tuple[Talk, ...]:
    return tuple(
        Talk(
            number,
            _begin(dice, number),
            conversation(dice, number, dice.randint(*PROCESS_LINES)),
            dice.choice(_ENDS),
        )
        for number in range(dice.randint(*PROCESS_TALKS))
    )


def _begin(dice: random.Random, number: int) -> float:
    """Return when a session begins: some at once, so that every fault finds one."""
    return round(dice.uniform(0, 0.2) if number < 3 else dice.uniform(0, PROCESS_SECONDS), 3)  # noqa: PLR2004


def _room_talks(dice: random.Random) -> tuple[Talk, ...]:
    """Return the sessions of a room campaign; its utterances are known to the scripted brain."""
    ids = iter(dice.sample(_IDS, 100))
    talks = []
    for number in range(dice.randint(*ROOM_TALKS)):
        lines = tuple(
            Line(Way.CLIENT, number * 100 + n, 0.0, (str(next(ids)),), 0.0)
            for n in range(dice.randint(*ROOM_LINES))
        )
        begins = round(dice.uniform(0, 1.5), 3)
        realtime = dice.random() < 0.25  # noqa: PLR2004
        talks.append(Talk(number, begins, lines, EndReason.CLIENT_LEFT, realtime=realtime))
    return tuple(talks)
