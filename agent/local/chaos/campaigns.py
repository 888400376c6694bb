"""`coach chaos`: campaign after campaign until enough was broken, and what came of it.

It needs no key, no server and no database: it brings all of them, on this machine alone. Nothing of
the environment's or `.env`'s settings reaches what it runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agent.local import state
from agent.local.chaos import report as reports
from agent.local.chaos import stages
from agent.local.chaos.ledger import Ledger, fingerprint
from agent.local.chaos.left_out import left_out
from agent.local.chaos.outcome import Outcome
from agent.local.chaos.plan import Campaign, Level, campaign
from agent.local.chaos.report import Report
from agent.local.chaos.stages import Play, clear
from agent.local.state import AlreadyRunningError
from agent.settings import Settings

PASSED, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 128 + signal.SIGINT
ROOMS_SHARE = 10
"""One in so many faults is brought about with rooms and audio, where nobody says how many."""

_NOT_OURS = re.compile(
    r"(LIVEKIT|OPENAI|DEEPGRAM|COACH|PG)\w*|DATABASE_URL|(HTTPS?|ALL|NO|WSS?|FTP)_PROXY",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?:(process|room)-)?([1-9]\d*)")


@dataclass(frozen=True)
class Wanted:
    faults: int = 1000
    seed: int = 1
    rooms: int | None = None
    """How many of the faults with rooms and audio."""
    campaign: str | None = None
    """Only this one, as a report names it, played again whatever the ledger says."""
    plan: bool = False
    """Show what would be done, do nothing."""
    folder: Path | None = None
    """Where the ledger and evidence are; `var/chaos` of the current folder if None."""
    as_json: bool = False
    json_file: Path | None = None

    @property
    def shares(self) -> dict[Level, int]:
        """How many faults of each level."""
        rooms = self.faults // ROOMS_SHARE if self.rooms is None else min(self.rooms, self.faults)
        return {Level.PROCESS: self.faults - rooms, Level.ROOM: rooms}


def run(wanted: Wanted) -> int:
    """Play what is wanted and print what came of it; return the exit code.

    0: not a word was lost. 1: something was found, and it is said how to replay it. 2: it makes no
    sense, or another run has the folder. 130: interrupted; the same command goes on from there.
    """
    only = _NAME.fullmatch(wanted.campaign) if wanted.campaign else None
    if wanted.campaign and only is None:
        return _refuse(f"{wanted.campaign} names no campaign: 12 or room-3 does")
    single = (Level(only[1] or "process"), int(only[2])) if only else None
    if wanted.plan:
        return _show_plan(wanted, single)
    folder = wanted.folder or state.prepare(Path.cwd()) / "chaos"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with state.own(folder):
            return _run(wanted, single, folder.resolve())
    except AlreadyRunningError:
        return _refuse(f"another run has {folder}")
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)  # noqa: T201
        return INTERRUPTED


def _refuse(why: str) -> int:
    print(f"coach: {why}", file=sys.stderr)  # noqa: T201
    return REFUSED


def _show_plan(wanted: Wanted, single: tuple[Level, int] | None) -> int:
    chosen = [single] if single else [(level, 1) for level, share in wanted.shares.items() if share]
    for level, number in chosen:
        print(json.dumps(asdict(campaign(wanted.seed, number, level)), indent=1))  # noqa: T201
    return PASSED


def _run(wanted: Wanted, single: tuple[Level, int] | None, folder: Path) -> int:
    _forget_the_environment()
    clear(folder / "work")
    shares = {level: share for level, share in wanted.shares.items() if share}
    missing = left_out([single[0]] if single else shares)
    for one in missing:
        _note(str(one))
    if single:
        outcome = asyncio.run(_once(wanted.seed, *single, folder))
        report = Report(wanted.seed, {single[0]: [outcome]}, missing)
    else:
        ledger = Ledger.of(folder, wanted.seed, fingerprint(), missing)
        asyncio.run(_all(wanted.seed, shares, folder, ledger))
        found = {level: ledger.done(level, share) for level, share in shares.items()}
        report = Report(wanted.seed, found, missing)
    _say(report, wanted)
    return exit_code(report, None if single else wanted.shares)


def exit_code(report: Report, shares: Mapping[Level, int] | None = None) -> int:
    """Return whether nothing was found, and as much was broken as `shares` ask for."""
    enough = all(
        _broken(report.outcomes.get(level, ())) >= share for level, share in (shares or {}).items()
    )
    return PASSED if report.good and enough else FAILED


def _say(report: Report, wanted: Wanted) -> None:
    text = json.dumps(report.to_json(), indent=1)
    if wanted.json_file:
        wanted.json_file.write_text(text + "\n", encoding="utf-8")
    if wanted.as_json:
        print(text)  # noqa: T201
    else:
        report.show(Console(highlight=False))


async def _once(seed: int, level: Level, number: int, folder: Path) -> Outcome:
    async with stages.opened(level, folder, _note) as play:
        return await _played(play, campaign(seed, number, level), folder)


async def _all(seed: int, shares: Mapping[Level, int], folder: Path, ledger: Ledger) -> None:
    """Play what is missing in the ledger, level after level."""
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, _interrupt, asyncio.current_task()
    )
    with _bar() as bar:
        for level, share in shares.items():
            await _level(seed, level, share, folder, ledger, bar)


async def _level(  # noqa: PLR0913, PLR0917 - what it is for is all of that
    seed: int, level: Level, share: int, folder: Path, ledger: Ledger, bar: Progress
) -> None:
    task = bar.add_task(reports.TITLES[level], total=share)
    while _broken(done := ledger.done(level, share)) < share:
        bar.update(task, completed=_broken(done))
        async with stages.opened(level, folder, _note) as play:
            while _broken(done := ledger.done(level, share)) < share:
                outcome = await _played(play, campaign(seed, len(done) + 1, level), folder)
                ledger.add(outcome)
                bar.update(task, completed=min(share, _broken(ledger.done(level, share))))
                if not bar.console.is_terminal:
                    _note(_line(outcome, _broken(ledger.done(level, share)), share))
                if outcome.gave_up:
                    break  # on a new stage: this one may be what is broken
    bar.update(task, completed=share)


def _line(outcome: Outcome, broken: int, share: int) -> str:
    """Return a line of progress, for where a bar cannot be shown."""
    found = f", {len(outcome.findings)} findings" if outcome.findings else ""
    return f"{outcome.level} {outcome.number}: {broken}/{share} faults{found}"


def _broken(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.broken for outcome in outcomes)


async def _played(play: Play, planned: Campaign, folder: Path) -> Outcome:
    """Play one campaign; what it leaves is kept where something was found."""
    name = f"{planned.level}-{planned.number}"
    work = folder / "work" / name
    work.mkdir(mode=0o700, parents=True)
    try:
        outcome = await play(planned, work)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what came of the campaign
        (work / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        outcome = Outcome.given_up(planned, error)
    if outcome.good:
        shutil.rmtree(work)
    else:
        _keep(work, folder / f"evidence-{planned.seed}" / name, outcome, planned)
    return outcome


def _keep(work: Path, place: Path, outcome: Outcome, planned: Campaign) -> None:
    clear(place)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    state.write_private(work / "outcome.json", json.dumps(outcome.to_json(), indent=1))
    state.write_private(work / "plan.json", json.dumps(asdict(planned), indent=1))
    work.rename(place)


def _note(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201


@contextmanager
def _bar() -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("faults"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield progress


def _interrupt(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()


def _forget_the_environment() -> None:
    for name in [name for name in os.environ if _NOT_OURS.fullmatch(name)]:
        del os.environ[name]
    Settings.model_config["env_file"] = None
