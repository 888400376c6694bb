"""Lists of sessions are the same, whichever way a page of them is found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import cycle, islice
from typing import Any
from uuid import UUID

import pytest
from serving import START, Api, add_session, add_turns, add_user

from persistence import listing, search, viewers
from persistence.listing import Filters
from persistence.paging import Position
from persistence.viewers import Reach, Viewer

SESSIONS = 60
A_PAGE = 7
WORDS = ("a heron", "a stork", "heron and stork")

Listed = Callable[..., Awaitable[list[UUID]]]


async def people(api: Api) -> dict[str, UUID]:
    """Return coaches, and clients of one by appointment, by a session, by both, and of another."""
    known = {
        name: await add_user(api.db, name)
        for name in ("carl", "dora", "appointed", "seen", "both", "strange")
    }
    for client in ("appointed", "both"):
        await api.db.execute(
            "INSERT INTO appointments (id, client_id, coach_id) VALUES (gen_random_uuid(), %s, %s)",
            [known[client], known["carl"]],
        )
    return known


def kinds(known: dict[str, UUID]) -> list[dict[str, Any]]:
    """Return whose a session may be; by number below."""
    return [
        {"user_id": known["appointed"]},
        {"user_id": known["seen"], "coach_id": known["carl"]},
        {"user_id": known["seen"], "coach_id": known["dora"]},
        {"user_id": known["both"], "coach_id": known["carl"]},
        {"user_id": known["strange"], "coach_id": known["dora"]},
        {"user_id": None, "coach_id": known["carl"]},
        {"client_identity": "appointed"},
        {"user_id": known["strange"]},
    ]


@pytest.fixture
async def listed(api: Api) -> Listed:
    """All pages of a list, put together."""
    known = await people(api)
    for number, who in enumerate(islice(cycle(kinds(known)), SESSIONS)):
        state = {"status": "active"} if number % 5 == 0 else {}
        began = START + timedelta(minutes=number // 3)
        session = await add_session(api.db, started_at=began, **who, **state)
        await add_turns(api.db, session, [{"text": WORDS[number % 3]}])
        if number == SESSIONS // 2:
            await search.gather(api.db)

    async def all_of(name: str, reach: Reach, **wanted: Any) -> list[UUID]:
        viewer, after, found = Viewer(reach, known[name], name), None, []
        while True:
            rows = await listing.page(
                api.db, Filters(**wanted), limit=A_PAGE, after=after, viewer=viewer
            )
            found += [row.id for row in rows]
            if len(rows) < A_PAGE:
                return found
            after = Position(rows[-1].started_at, rows[-1].id)

    return all_of


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"status": "active"},
        {"client": "seen"},
        {"coach": "carl"},
        {"text": "heron"},
        {"text": "stork", "status": "completed"},
        {"text": "nothing"},
    ],
)
async def test_a_list_is_the_same_whichever_way_its_pages_are_found(
    listed: Listed, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any]
) -> None:
    """By who has few clients or many, of few hits or many, near the top or far down."""
    for name, reach in (("carl", Reach.CLIENTS), ("appointed", Reach.OWN), ("carl", Reach.ALL)):
        found = await listed(name, reach, **wanted)
        assert len(set(found)) == len(found)
        for few_clients, few_hits, looked_through in ((0, 2000, 9), (0, 1, 9), (0, 1, 1000)):
            with monkeypatch.context() as other:
                other.setattr(viewers, "FEW", few_clients)
                other.setattr(search, "FEW", few_hits)
                other.setattr(listing, "LOOKED_THROUGH", looked_through)
                assert await listed(name, reach, **wanted) == found


@pytest.mark.parametrize(
    ("name", "reach", "read"),
    [
        ("carl", Reach.ALL, {0, 1, 2, 3, 4, 5, 6, 7}),
        ("carl", Reach.CLIENTS, {0, 1, 2, 3, 5}),
        ("dora", Reach.CLIENTS, {1, 2, 4, 7}),
        ("appointed", Reach.OWN, {0, 6}),
        ("seen", Reach.OWN, {1, 2}),
    ],
)
async def test_a_list_holds_all_that_its_reader_may_read(
    listed: Listed, name: str, reach: Reach, read: set[int]
) -> None:
    found = await listed(name, reach)
    assert len(found) == sum(number % 8 in read for number in range(SESSIONS))
