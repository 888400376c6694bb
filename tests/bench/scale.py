"""Reading where there is much: 200,000 sessions, 10 million turns.

Timed is what the API asks Postgres, with all that it reads, by the client; and inside Postgres, by
its own account (EXPLAIN ANALYZE: planning and execution), what has a goal there.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import many_sessions
from results import Bench, Result, Row, milliseconds
from samples import Spread, spread
from throughput import filled

from persistence import database, figures, listing, search, transcripts, users
from persistence.listing import Filters
from persistence.paging import Position
from persistence.viewers import EVERYTHING, Reach, Viewer

SESSIONS, TURNS = many_sessions.SESSIONS, 10_000_000
PAGE = 51
DEPTH = 100_000
SAMPLES = 300
SLOW_SAMPLES = 7
GOAL_OFFSET = 40
GOAL_PAGE_SECONDS = 0.010
GOAL_DETAIL_SECONDS = 0.010
GOAL_METRICS = 20
GOAL_SEARCH_SECONDS = 0.020

_ORDERED = " ORDER BY s.started_at DESC, s.id DESC"
_BY_OFFSET = f"{_ORDERED} OFFSET %s LIMIT {PAGE}"
_JOINED_BY_OFFSET = transcripts.SESSION.format(sessions="sessions") + _BY_OFFSET
_PAGE_BY_OFFSET = (
    transcripts.SESSION.format(sessions=f"(SELECT s.* FROM sessions s{_BY_OFFSET})") + _ORDERED
)
_PAGE = transcripts.SESSION.format(sessions=f"({listing.newest(PAGE, [listing._AFTER])})")
_PLACES = (
    "SELECT started_at, id FROM sessions ORDER BY started_at DESC, id DESC"
    f" OFFSET %s LIMIT {SAMPLES}"
)
_SUM = (
    "SELECT sum(duration_seconds) FROM sessions WHERE status = 'completed'"
    " AND date_trunc('{0}', ended_at) = date_trunc('{0}', now())"
)
_A_COACH = "SELECT id FROM users WHERE identity = 'coach-7'"
_SIZES = "SELECT count(*), (SELECT count(*) FROM turns) FROM sessions"
_LONG = (
    "SELECT id FROM sessions WHERE turn_count = 60 AND status = 'completed' ORDER BY md5(id::text)"
)

Db = Any
Step = Callable[[], Awaitable[Any]]


async def timed(step: Step, samples: int) -> Spread:
    """Return how long `step` takes, in seconds; the first time does not count."""
    taken = []
    for _ in range(samples + 1):
        began = time.perf_counter()
        await step()
        taken.append(time.perf_counter() - began)
    return spread(taken[1:])


async def _all(db: Db, query: str, *values: Any) -> list[Any]:
    rows: list[Any] = await (await db.execute(query, values)).fetchall()
    return rows


async def _inside(db: Db, query: str, values: Any) -> float:
    """Return how long Postgres says that it takes to plan and to execute `query`, in seconds."""
    explained = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query}"
    (((told,),),) = await (await db.execute(explained, values)).fetchall()
    return float(told["Planning Time"] + told["Execution Time"]) / 1000


def _each(step: Callable[[Any], Awaitable[Any]], given: list[Any]) -> Step:
    """Return a step that takes the next of `given` each time, in any order."""
    left: list[Any] = []

    async def next_one() -> Any:
        if not left:
            left.extend(random.Random(7).sample(given, len(given)))
        return await step(left.pop())

    return next_one


class Scale:
    """The figures, one after another, on one connection."""

    def __init__(self, bench: Bench, db: Db, sessions: int) -> None:
        self._bench = bench
        self._db = db
        self._depth = min(DEPTH, sessions // 2)
        self._samples = bench.size(SAMPLES, 20)
        self.rows: list[Row] = []
        self.data: dict[str, Any] = {}

    def _note(self, key: str, row: Row, **data: Any) -> None:
        self._bench.report(row.what)
        self.rows.append(row)
        self.data[key] = data

    def _spread(self, key: str, what: str, taken: Spread, goal: float | None = None) -> None:
        row = Row(
            f"{what}: p50 / p99",
            f"{milliseconds(taken.p50)} / {milliseconds(taken.p99)}",
            f"p99 < {milliseconds(goal)}" if goal else "",
            taken.p99 < goal if goal else None,
        )
        self._note(key, row, p50Seconds=taken.p50, p99Seconds=taken.p99)

    def _times(self, key: str, what: str, slow: Spread, quick: Spread, goal: int | None) -> None:
        times = slow.p50 / quick.p50
        row = Row(
            f"{what} ({milliseconds(slow.p50)} and {milliseconds(quick.p50)})",
            f"{times:.0f}x",
            f">= {goal}x" if goal else "",
            times >= goal if goal else None,
        )
        self._note(key, row, slowSeconds=slow.p50, quickSeconds=quick.p50, times=times)

    async def pages(self) -> None:
        """Take pages deep down, by where the one before ended and by counting."""
        places = [Position(*row) for row in await _all(self._db, _PLACES, self._depth)]
        page = await timed(_each(lambda place: self._page(after=place), places), self._samples)
        self._spread("page", f"a page at depth {self._depth}", page)
        inside = [
            await _inside(self._db, _PAGE + _ORDERED, {"after_at": at, "after_id": id_})
            for at, id_ in ((place.at, place.id) for place in places[: self._samples])
        ]
        self._spread("pageInside", "inside Postgres", spread(inside), GOAL_PAGE_SECONDS)
        for key, query, goal in (
            ("offset", _JOINED_BY_OFFSET, GOAL_OFFSET),
            ("pageByOffset", _PAGE_BY_OFFSET, None),
        ):
            ask = _each(partial(_all, self._db, query), [self._depth])
            counted = await timed(ask, SLOW_SAMPLES)
            what = "the same by OFFSET" if goal else "the same, OFFSET over sessions alone"
            self._times(key, what, counted, page, goal)

    async def _page(self, after: Position | None = None, **wanted: Any) -> Any:
        return await listing.page(self._db, Filters(**wanted), limit=PAGE, after=after)

    async def detail(self) -> None:
        ids = [row[0] for row in (await _all(self._db, _LONG))[: self._samples]]
        taken = await timed(_each(lambda one: transcripts.whole(self._db, one), ids), self._samples)
        self._spread("detail", "a transcript of 60 turns", taken)
        inside = []
        for one in ids:
            where, values = transcripts._one(one, EVERYTHING)
            session = await _inside(self._db, f"{transcripts._ONE} {where}", values)
            inside.append(session + await _inside(self._db, transcripts._TURNS, (one,)))
        self._spread("detailInside", "inside Postgres", spread(inside), GOAL_DETAIL_SECONDS)

    async def metrics(self) -> None:
        """Ask for all figures, and by turns for three sums as a dashboard would write them."""

        async def sums() -> None:
            for since in ("day", "week", "month"):
                await _all(self._db, _SUM.format(since))

        summed = await timed(sums, SLOW_SAMPLES)
        asked = await timed(lambda: figures.figures(self._db), self._samples)
        self._times(
            "metrics", "metrics, and sums over date_trunc alone", summed, asked, GOAL_METRICS
        )

    async def searches(self) -> None:
        for key, what, text, goal in (
            ("rareSearch", "search for a rare word", many_sessions.RARE, GOAL_SEARCH_SECONDS),
            ("commonSearch", "search for a word in every tenth session", "word1153", None),
            ("twoWords", "search for two such words", "word1153 word207", None),
        ):
            taken = await timed(partial(self._search, text), self._samples // 5)
            self._spread(key, what, taken, goal)

    async def _search(self, text: str) -> None:
        found = await self._page(text=text)
        hits = await search.hits(self._db, [row.id for row in found], text)
        assert len(hits) == len(found) >= (3 if text == many_sessions.RARE else 0)

    async def _to_a_coach(self) -> Any:
        coach = Viewer(Reach.CLIENTS, self._coach, "coach-7")
        return await listing.page(self._db, Filters(), limit=PAGE, viewer=coach)

    async def lists(self) -> None:
        """Take the first page of every list, and of sessions by every filter; say the slowest."""
        ((self._coach,),) = await _all(self._db, _A_COACH)
        taken: dict[str, float] = {}
        filters: dict[str, dict[str, Any]] = {
            "of a client": {"client": "client-77"},
            "of a coach": {"coach": "coach-7"},
            "completed": {"status": "completed"},
            "cancelled": {"status": "cancelled"},
            "active": {"status": "active"},
            "partial": {"completeness": "partial"},
            "cancelled, of a client": {"status": "cancelled", "client": "client-77"},
        }
        for name, wanted in filters.items():
            asked = await timed(partial(self._page, **wanted), self._samples // 5)
            taken[f"sessions {name}"] = asked.p99
        for name, ask in {
            "sessions, to a coach": self._to_a_coach,
            "users": lambda: users.page(self._db, limit=PAGE),
            "coaches": lambda: users.coaches(self._db, limit=PAGE),
        }.items():
            taken[name] = (await timed(ask, self._samples // 20)).p99
        slowest = max(taken, key=lambda name: taken[name])
        row = Row("the slowest of 10 lists, p99", f"{milliseconds(taken[slowest])} ({slowest})")
        self._note("lists", row, p99Seconds=taken)


async def _measured(bench: Bench, url: str) -> Result:
    async with await database.connect(url, "bench") as db:
        ((sessions, turns),) = await _all(db, _SIZES)
        scale = Scale(bench, db, sessions)
        for part in (scale.pages, scale.detail, scale.metrics, scale.searches, scale.lists):
            await part()
    first = Row("sessions and turns", f"{sessions:,} and {turns:,}", "200,000 and 10,000,000")
    return Result([first, *scale.rows], {"sessions": sessions, "turns": turns, **scale.data})


def measure(bench: Bench) -> Result:
    """Return how long what the API reads takes, where there is much of it."""
    with filled(bench, bench.size(SESSIONS, 2_000)) as url:
        return asyncio.run(_measured(bench, url))
