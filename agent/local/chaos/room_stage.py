"""Room campaigns, one after the other on one deployment: each played, then judged."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path

from agent.local import state
from agent.local.chaos import room_truth
from agent.local.chaos.deployment import Deployment
from agent.local.chaos.outcome import Outcome
from agent.local.chaos.plan import Campaign
from agent.local.chaos.room_truth import CLOCKS_SECONDS
from agent.local.chaos.rooms import Playing
from agent.local.chaos.truth import Held
from persistence import audit
from persistence.database import connect
from persistence.events import Role


@dataclass
class RoomStage:
    """What outlives a campaign."""

    deployment: Deployment

    async def play(self, campaign: Campaign, folder: Path) -> Outcome:
        """Play `campaign`; what clients say of themselves goes to `folder`."""
        began = time.monotonic()
        play = Playing(self.deployment, campaign, folder)
        hit = await play.act()
        stuck = await play.settle()
        held = await asyncio.to_thread(
            Held.read, self.deployment.database, [room.name for room in play.rooms]
        )
        held.keep(folder)
        said = play.said()
        state.write_private(folder / "wire.json", "\n".join(map(json.dumps, said)))
        unsent = room_truth.unsent(said, play.deaf)
        spoken = [piece for room in play.rooms for piece in room.spoken(said, unsent)]
        right, findings = room_truth.righted(held, self.deployment.clock, began)
        lived = (began - time.monotonic() + time.time() - CLOCKS_SECONDS, time.time())
        wrong = await self._wrong(held)
        findings += room_truth.judged(play.rooms, spoken, right, wrong, lived)
        return Outcome.of(
            campaign,
            hit,
            [*stuck, *findings],
            [piece for piece in spoken if piece.role is Role.CLIENT or piece.least],
            sessions=len(held.sessions),
            turns=len(held.turns),
            seconds=time.monotonic() - began,
        )

    async def _wrong(self, held: Held) -> frozenset[str]:
        """Return the sessions of the campaign whose receipt is not that of their turns."""
        database, ours = self.deployment.database, {row["id"] for row in held.sessions}
        async with await connect(database.url(database.port), "chaos") as db:
            wrong = {str(finding.session_id) async for finding in audit.findings(db)}
        return frozenset(wrong & ours)
