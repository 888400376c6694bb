"""The stand-in as a process of its own: `python -m agent.local.providers --brain offline`.

Prints one line of JSON with its URLs when it is ready. Ends on SIGTERM, SIGINT, or when the process
that started it is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys

from agent.local.providers.brain import Brain
from agent.local.providers.offline import OfflineBrain
from agent.local.providers.scripted import ScriptedBrain
from agent.local.providers.server import serve

PARENT_POLL_SECONDS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m agent.local.providers")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--brain", choices=("offline", "scripted"), default="offline")
    arguments = parser.parse_args()
    parent = os.getppid()
    try:
        asyncio.run(run(arguments.brain, arguments.host, arguments.port, parent))
    except OSError as error:
        sys.exit(f"the providers' stand-in cannot listen: {error.strerror}")


async def run(brain: str, host: str, port: int, parent: int) -> None:
    """Serve until told to stop, or until `parent` (a process id) is no longer the parent."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with await serve(make_brain(brain), host, port, control=brain == "scripted") as server:
        urls = {"deepgram": server.deepgram_url, "openai": server.openai_url, "url": server.url}
        print(json.dumps({**urls, "brain": brain, "pid": os.getpid()}), flush=True)  # noqa: T201 — its parent reads it
        while not stop.is_set() and os.getppid() == parent:
            try:
                await asyncio.wait_for(stop.wait(), PARENT_POLL_SECONDS)
            except TimeoutError:
                continue


def make_brain(name: str) -> Brain:
    """Return the brain of that name."""
    return ScriptedBrain() if name == "scripted" else OfflineBrain()


if __name__ == "__main__":
    main()
