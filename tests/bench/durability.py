"""How long after its event a turn is durable in the journal, and how long until it is in Postgres.

Idle-paced, as a conversation is: the next turn comes when the last one is there. The clock starts
where a handler hands the event to the recorder, and stops at the journal's acknowledgement, and
when a trigger's notification of the committed row is back in this process.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg
import uuid_utils.compat as uuids
from results import Bench, Result, Row, milliseconds
from samples import Spread, spread
from stand import database, shipper

from agent.local.processes import Children
from agent.worker.people import person_of
from agent.worker.recorder import Recorder, Utterance
from agent.worker.scribe import Scribe
from persistence.events import EndReason, Started
from persistence.journal import JournalWriter

TURNS_A_SESSION = 50
PAUSE_SECONDS = (0.0, 0.03)
"""Between turns: random, so that nothing falls into step with the shipper's polls."""
DEADLINE = 10.0
JOURNAL_BYTES = 2**30
SAID = "I slept badly again this week, and it shows at work: I lose patience with everyone."
NOTIFY = """
CREATE FUNCTION bench_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('bench', NEW.item_id); RETURN NULL; END $$;
CREATE TRIGGER bench AFTER INSERT ON turns FOR EACH ROW EXECUTE FUNCTION bench_notify();
"""


@dataclass
class Arrivals:
    """The turns that Postgres has, as it says so."""

    _seen: dict[str, asyncio.Future[float]] = field(default_factory=dict)

    def expect(self, item_id: str) -> asyncio.Future[float]:
        """Return what will hold the time (`perf_counter`) at which the turn was seen."""
        return self._seen.setdefault(item_id, asyncio.get_running_loop().create_future())

    async def follow(self, db: psycopg.AsyncConnection[object]) -> None:
        async for notice in db.notifies():
            self.expect(notice.payload).set_result(time.perf_counter())


def measure(bench: Bench) -> Result:
    """Return the figures of `bench.size` turns."""
    children = Children(bench.folder)
    journals = bench.folder / "journal"
    journals.mkdir()
    with database(bench.folder) as url, shipper(children, journals, url):
        durable, visible = asyncio.run(_turns(bench, url, journals))
    rows = [_row("turn durable in the journal", durable), _row("turn visible in Postgres", visible)]
    return Result(rows, {"durableSeconds": asdict(durable), "visibleSeconds": asdict(visible)})


def _row(what: str, found: Spread) -> Row:
    value = f"p50 {milliseconds(found.p50)}, p99 {milliseconds(found.p99)}"
    return Row(f"{what} ({found.count} turns)", value)


async def _turns(bench: Bench, url: str, journals: Path) -> tuple[Spread, Spread]:
    durable: list[float] = []
    visible: list[float] = []
    async with _listening(url) as arrivals:
        for _ in range(bench.size(24, 2)):
            scribe = _session(journals)
            for _ in range(TURNS_A_SESSION):
                after = await _turn(scribe, arrivals)
                durable.append(after[0])
                visible.append(after[1])
                await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
            scribe.end(EndReason.CLIENT_LEFT)
            scribe.journal.close(DEADLINE)
            bench.report(f"{len(visible)} turns")
    return spread(durable), spread(visible)


async def _turn(scribe: Scribe, arrivals: Arrivals) -> tuple[float, float]:
    """Record one turn; return after how many seconds it was durable, and visible."""
    item_id = f"item_{uuids.uuid7().hex}"
    seen = arrivals.expect(item_id)
    utterance = Utterance(item_id=item_id, text=SAID, confidence=0.97)
    began = time.perf_counter()
    scribe.write(lambda now: scribe.recorder.client_turn(now, utterance))
    if not await scribe.journal.durable(DEADLINE):
        raise RuntimeError("the journal did not take a turn")
    durable = time.perf_counter() - began
    async with asyncio.timeout(DEADLINE):
        return durable, await seen - began


def _session(journals: Path) -> Scribe:
    journal = JournalWriter.create(journals, uuids.uuid7(), max_bytes=JOURNAL_BYTES)
    scribe = Scribe(Recorder(person_of("client-7", {}), "en"), journal)
    at = scribe.clock.now()
    scribe.start(Started(at=at, room_name="bench", pipeline="stt-llm-tts", prompt_version="bench"))
    return scribe


@asynccontextmanager
async def _listening(url: str) -> AsyncIterator[Arrivals]:
    arrivals = Arrivals()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        await db.execute(NOTIFY)
        await db.execute("LISTEN bench")
        following = asyncio.create_task(arrivals.follow(db))
        try:
            yield arrivals
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
