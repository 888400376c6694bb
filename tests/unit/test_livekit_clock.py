"""LiveKit's clock is read off its answers, whatever this machine's says."""

from __future__ import annotations

import time
from email.utils import formatdate

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agent.worker.livekit_clock import LiveKitClock

AHEAD = 3600


async def asked(clock: LiveKitClock, date: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(headers={"Date": date})

    app = web.Application()
    app.router.add_get("/", answer)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(trace_configs=[clock.traced()]) as http,
        http.get(server.make_url("/")),
    ):
        pass


async def test_it_goes_by_the_last_answer_though_this_machines_clock_jumps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, theirs = LiveKitClock(), time.time() + AHEAD
    await asked(clock, formatdate(theirs, usegmt=True))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert theirs - 1 <= clock.now() < theirs + AHEAD


async def test_an_answer_that_does_not_say_the_time_is_let_pass() -> None:
    clock = LiveKitClock()
    await asked(clock, "yesterday")
    assert abs(clock.now() - time.time()) < AHEAD
