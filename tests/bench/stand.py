"""What the bench stands on: a Postgres that is as durable as a real one, a stand-in, a shipper."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deployment import Providers

from agent.local import postgres
from agent.local.processes import Child, Children, wait_until
from persistence import migrate

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
SHIPPER = Path(__file__).with_name("shipper_process.py")


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """Yield the URL of a migrated database on new data, gone afterwards.

    Its commits wait for the disk: the suite's own, forgetful server would flatter every figure.
    """
    data = postgres.data_dir(folder)
    try:
        with postgres.start(data) as server:
            migrate.upgrade(server.url)
            yield server.url
    finally:
        shutil.rmtree(data.parent, ignore_errors=True)


@contextmanager
def running(
    children: Children,
    name: str,
    command: list[str],
    ready: str,
    environment: Mapping[str, str] = os.environ,
) -> Iterator[Child]:
    """Run `command` in the block; it is ready once `ready` stands in its output."""
    child = children.spawn(name, command, environment)
    try:
        wait_until(lambda: ready in "\n".join(child.output()), child, READY_SECONDS)
        yield child
    finally:
        children.stop(child, STOP_SECONDS)


@contextmanager
def scripted_providers(children: Children) -> Iterator[Providers]:
    """Run the stand-in with the scripted brain: it answers without any wait of its own."""
    command = [sys.executable, "-m", "agent.local.providers", "--brain", "scripted"]
    with running(children, "providers", command, "{") as child:
        said = json.loads(next(line for line in child.output() if line.startswith("{")))
        yield Providers(child, said["url"], said["deepgram"], said["openai"])


@contextmanager
def shipper(children: Children, folder: Path, url: str) -> Iterator[Child]:
    """Ship what is in `folder` from a process of its own, as the worker's parent does."""
    command = [sys.executable, str(SHIPPER), str(folder), url]
    with running(children, "shipper", command, "shipper_connected") as child:
        yield child
