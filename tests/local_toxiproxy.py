"""A real fault proxy for the suite; `conftest.py` brings the fixture to every test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from missing import give_up

from agent.local import toxiproxy
from agent.local.go_programs import GoProgramError
from agent.local.processes import ChildDiedError, Children
from agent.local.toxiproxy import Toxiproxy


@pytest.fixture(scope="session")
def toxiproxy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toxiproxy]:
    """A fault proxy of the suite's own.

    Where none is found it is built, once a machine, if there is a Go on PATH, or in CI.
    """
    children = Children(tmp_path_factory.mktemp("toxiproxy"))
    if toxiproxy.PROGRAM.find() is None and not os.environ.get("CI") and not shutil.which("go"):
        give_up("no Toxiproxy on this machine: install toxiproxy-server or Go")
    try:
        binary = toxiproxy.PROGRAM.find_or_build(children, report=lambda _line: None)
        server = toxiproxy.start(children, binary)
    except (GoProgramError, ChildDiedError) as error:
        give_up(str(error))
    yield server
    toxiproxy.stop(children, server)
