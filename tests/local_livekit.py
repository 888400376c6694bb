"""A real LiveKit server for the suite; `conftest.py` brings the fixture to every test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from missing import give_up

from agent.local import livekit_server
from agent.local.livekit_server import LiveKitServer, LiveKitServerError
from agent.local.processes import ChildDiedError, Children


@pytest.fixture(scope="session")
def livekit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveKitServer]:
    """A LiveKit server of the suite's own: its `url`, and `credentials` with `key` and `secret`.

    Where none is found it is built, once a machine, if there is a Go on PATH, or in CI.
    """
    folder = tmp_path_factory.mktemp("livekit")
    children = Children(folder)
    try:
        binary = _binary(children)
        server = livekit_server.start(children, binary, livekit_server.credentials(folder))
    except (LiveKitServerError, ChildDiedError) as error:
        give_up(str(error))
    yield server
    livekit_server.stop(children, server)


def _binary(children: Children) -> Path:
    found = livekit_server.find()
    if found is None and not os.environ.get("CI") and shutil.which("go") is None:
        give_up(
            "no LiveKit server on this machine: install livekit-server or Go, or run "
            "`uv run coach up` once, which builds one"
        )
    return found or livekit_server.find_or_build(children, report=lambda _line: None)
