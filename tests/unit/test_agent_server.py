"""How LiveKit's server loop is set up for a worker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.settings import Settings
from agent.worker.entry import JobEntry
from agent.worker.server import agent_server, agents_of

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
