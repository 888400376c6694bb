"""The deployment that tests of the whole run against; `conftest.py` brings its fixtures."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

import pytest
from databases import fresh_database
from deployment import Deployment, Providers

from agent.local.livekit_server import LiveKitServer
from agent.local.processes import Children, wait_until


@pytest.fixture(scope="module")
def deployment(
    livekit: LiveKitServer,
    postgres_url: str,
    template_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    """A deployment of the file's own, without a worker."""
    folder = tmp_path_factory.mktemp("deployment")
    children = Children(folder)
    providers = _start_providers(children)
    databases = fresh_database(postgres_url, template_database)
    made = Deployment(livekit, providers, next(databases), folder, children)
    yield made
    for worker in list(made.workers):
        made.stop_worker(worker)
    children.stop(providers.child, 5)
    next(databases, None)


@pytest.fixture(scope="module")
def served(deployment: Deployment) -> Deployment:
    """A deployment with one worker, for tests that harm nothing."""
    deployment.start_worker()
    return deployment


def _start_providers(children: Children) -> Providers:
    command = [sys.executable, "-m", "agent.local.providers", "--brain", "scripted"]
    child = children.spawn("providers", command, dict(os.environ))
    wait_until(lambda: any(line.startswith("{") for line in child.output()), child, 30)
    said = json.loads(next(line for line in child.output() if line.startswith("{")))
    return Providers(child, said["url"], said["deepgram"], said["openai"])
