"""One process campaign: played on a real Postgres behind a real fault proxy, then judged."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from agent.local.chaos import afterwards, truth
from agent.local.chaos.breaking import Breaking
from agent.local.chaos.clocks import Clock
from agent.local.chaos.database import LEASE_SECONDS, Database
from agent.local.chaos.endings import judge_ends
from agent.local.chaos.nursery import Nursery
from agent.local.chaos.outcome import Outcome
from agent.local.chaos.plan import Campaign, Fault, Talk
from agent.local.chaos.plan import Kind as Breakage
from agent.local.chaos.scene import STOP_SECONDS, Scene, StuckError, signalled
from agent.local.chaos.small_disk import small_disk
from agent.local.chaos.truth import Held, Told
from agent.local.chaos.verdict import Finding, Kind, Spoken, judge
from agent.local.toxiproxy import Proxy
from agent.settings import Settings
from persistence import audit
from persistence.database import connect

RENEWAL_SECONDS = 0.3
SHIP_SECONDS = 20.0
SETTLE_SECONDS = 60.0
"""In which everything is in Postgres once nothing is broken any more."""
ORDER_SLACK = 0.005
"""Seconds by which the job's own look at the clock and the recorder's may differ."""
CLOCK_SLACK = 0.5
"""Seconds by which what is stored may have begun at another moment than what was said."""
_LOOK_SECONDS = 0.05


@dataclass
class Stage:
    """What outlives a campaign."""

    database: Database
    proxy: Proxy
    openai_url: str
    """Of an LLM that summarises."""
    clocks: Path | None = None
    """What makes clocks wrong, if anything can."""

    async def play(self, campaign: Campaign, folder: Path) -> Outcome:
        """Play `campaign`, with all that it writes in `folder`, which is there and empty."""
        began = time.monotonic()
        await asyncio.to_thread(self.database.empty)
        journals = folder / "journal"
        journals.mkdir(mode=0o700)
        fills = any(fault.kind is Breakage.DISK_FULL for fault in campaign.faults)
        with small_disk(journals) if fills else nullcontext() as disk:
            nursery, clock = Nursery(folder, self.clocks), Clock.made(self.clocks, folder / "clock")
            scene = self._scene(nursery, campaign, folder, disk or journals, clock)
            breaking = Breaking(scene, self.database, self.proxy, disk, clock)
            try:
                hit = await _act(campaign, scene, breaking)
                clock.jump(0.0)
                stuck = await self._settle(scene, disk or journals)
                stuck += await afterwards.run_all(self.database, self.openai_url)
            finally:
                nursery.close()
                await asyncio.to_thread(self.proxy.heal)
        held = await asyncio.to_thread(Held.read, self.database)
        held.keep(folder)
        stories = [
            truth.told(job, breaking.full, clock, held.row(str(job.session))) for job in scene.jobs
        ]
        spoken = [piece for story in stories for piece in story.spoken()]
        return Outcome.of(
            campaign,
            hit,
            stuck + await self._judged(stories, spoken, held),
            spoken,
            sessions=len(held.sessions),
            turns=len(held.turns),
            seconds=time.monotonic() - began,
        )

    def _scene(
        self, nursery: Nursery, campaign: Campaign, folder: Path, journals: Path, clock: Clock
    ) -> Scene:
        def settings(port: int, place: Path) -> Settings:
            return Settings(
                _env_file=None,
                database_url=SecretStr(self.database.url(port)),
                journal_dir=place,
                lease_seconds=LEASE_SECONDS,
                lease_renewal_seconds=RENEWAL_SECONDS,
                ship_seconds=SHIP_SECONDS,
                openai_api_key=SecretStr("none"),
                openai_base_url=self.openai_url,
            )

        elsewhere = journals if campaign.shared_folder else folder / "rivals-journal"
        rivals = settings(self.database.port, elsewhere)
        ours = settings(self.proxy.port, journals)
        return Scene.opened(nursery, folder, ours, rivals, clock.file)

    async def _settle(self, scene: Scene, journals: Path) -> list[Finding]:
        """Let everything come to its end, nothing being broken; return what did not."""
        await asyncio.to_thread(self.proxy.heal)
        try:
            await scene.jobs_gone(SETTLE_SECONDS)
            signalled(scene.worker.pid, signal.SIGTERM)
            await scene.stopped(scene.worker)
            if _left(journals):
                scene.start_worker()
                await self._all_shipped(journals)
                signalled(scene.worker.pid, signal.SIGTERM)
            signalled(scene.rival.pid, signal.SIGTERM)
            for live in (scene.worker, scene.rival):
                await scene.stopped(live, STOP_SECONDS)
        except StuckError as error:
            return [Finding(Kind.NOT_ENDED, "campaign", str(error))]
        return []

    async def _all_shipped(self, journals: Path) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while left := _left(journals):
            if time.monotonic() > deadline:
                raise StuckError(f"{left} journals are not shipped")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _judged(
        self, stories: Sequence[Told], spoken: Sequence[Spoken], held: Held
    ) -> list[Finding]:
        async with await connect(self.database.url(self.database.port), "chaos") as db:
            wrong = [finding async for finding in audit.findings(db)]
        endings = [story.ending(held.row(story.session)) for story in stories]
        broken = frozenset(str(finding.session_id) for finding in wrong)
        return [
            *judge(spoken, held.stored(), slack=ORDER_SLACK, early=CLOCK_SLACK, late=CLOCK_SLACK),
            *held.dead_letters(),
            *judge_ends([end for end in endings if end is not None], held.ends(broken)),
            *(finding for story in stories for finding in held.unsaid(story)),
        ]


def _left(journals: Path) -> int:
    return sum(1 for _ in journals.glob("*/*.journal"))


async def _act(campaign: Campaign, scene: Scene, breaking: Breaking) -> Counter[Breakage]:
    """Play the plan; return how often what hit something."""
    began = time.monotonic()

    async def at(seconds: float) -> None:
        await asyncio.sleep(began + seconds - time.monotonic())

    async def hold(talk: Talk) -> None:
        await at(talk.begins)
        await scene.hold(talk)

    async def happen(fault: Fault) -> Breakage | None:
        await at(fault.at)
        return fault.kind if await breaking.happen(fault) else None

    async with asyncio.TaskGroup() as group:
        for talk in campaign.talks:
            group.create_task(hold(talk))
        happening = [group.create_task(happen(fault)) for fault in campaign.faults]
    return Counter(kind for task in happening if (kind := task.result()) is not None)
