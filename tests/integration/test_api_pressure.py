"""Many who call at once, and some who read slowly: they share a few connections to Postgres."""

from __future__ import annotations

import asyncio

from serving import Api, add_session, add_turns, all_idle

LIST = "/api/admin/transcripts"


async def test_more_callers_at_once_than_there_are_connections_are_all_answered(api: Api) -> None:
    key = await api.key("admin")
    session = await add_session(api.db)
    paths = [LIST, f"{LIST}/{session}", "/api/admin/users", "/api/admin/processes"] * 10
    answers = await asyncio.gather(*(api.get(path, key) for path in paths))
    assert {answer.status_code for answer in answers} == {200}


async def test_who_reads_an_answer_slowly_keeps_no_connection(api: Api) -> None:
    key = await api.key("admin")
    session = await add_session(api.db)
    await add_turns(api.db, session, [{"text": "one"}])
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(_: object) -> None:
        began.set()
        await go_on.wait()

    async def whole_request() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": f"{LIST}/{session}",
        "query_string": b"",
        "headers": [(b"x-api-key", key.encode())],
        "client": ("192.0.2.1", 1),
    }
    request = asyncio.create_task(api.app(scope, whole_request, slowly))
    await began.wait()
    await all_idle(api)
    go_on.set()
    await request
