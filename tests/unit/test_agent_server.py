"""How LiveKit's server loop is set up for a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.settings import Settings
from agent.worker import server as servers
from agent.worker.entry import JobEntry
from agent.worker.server import agent_server, agents_of
from agent.worker.signals import Stop

A_YEAR_OF_TRIES = 365 * 24 * 3600 // 10
"""The framework tries every 10 s."""


def test_a_worker_does_not_give_up_on_a_livekit_that_stays_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would end with sessions that still run, and with what it has not shipped."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
    settings = Settings(livekit_url="ws://127.0.0.1:1", livekit_api_key="key")
    server = agent_server(settings, JobEntry(settings, Path("journal")))
    assert server._max_retry > A_YEAR_OF_TRIES


def test_a_worker_that_does_not_run_yet_has_no_agents() -> None:
    """It is asked so before its first session, for those that died before it."""
    settings = Settings(livekit_url="ws://127.0.0.1:1", livekit_api_key="key")
    server = agent_server(settings, JobEntry(settings, Path("journal")))
    assert agents_of(server, asyncio.Event()) == {}


async def test_a_server_loop_that_fails_is_closed_and_what_its_jobs_said_is_shipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its jobs end with it; the disk with their journals may go with the container."""
    done: list[str] = []

    class Broken:
        def on(self, *_: object) -> None:
            pass

        async def run(self, **_: Any) -> None:
            raise RuntimeError("the loop fails")

        async def aclose(self) -> None:
            done.append("closed")

    class Estate:
        folder = SimpleNamespace(path=Path("journal"))
        tasks = dict

        async def nothing(self) -> None:
            pass

        recover = known_alive = nothing

        async def flush(self, **_: Any) -> int:
            done.append("shipped")
            return 0

    @asynccontextmanager
    async def claimed(_: Settings) -> AsyncIterator[Estate]:
        yield Estate()

    async def current(_: str) -> None:
        pass

    monkeypatch.setattr(servers, "Estate", SimpleNamespace(claimed=claimed))
    monkeypatch.setattr(servers, "agent_server", lambda *_: Broken())
    monkeypatch.setattr(servers, "_check_schema", current)
    monkeypatch.setattr(Stop, "install", lambda _: None)
    monkeypatch.setattr(servers, "left_by_dead_jobs", lambda _: {})
    settings = Settings(
        database_url="postgresql://", livekit_url="ws://127.0.0.1:1", livekit_api_key="key",
        livekit_api_secret="secret", metrics_port=0,
    )  # fmt: skip
    with pytest.raises(ExceptionGroup) as failed:
        await servers.run(settings)
    assert failed.value.subgroup(RuntimeError)
    assert done == ["closed", "shipped"]
