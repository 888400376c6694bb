"""The providers of campaigns: on the wire, as the real ones are; what they heard is the truth."""

from __future__ import annotations

import json
import os
import sys

from agent.local import processes
from agent.local.processes import Child, Children

_READY_SECONDS = 90.0


def start(children: Children) -> tuple[Child, dict[str, str]]:
    """Start the providers' stand-in; return it, and its URLs."""
    command = [sys.executable, "-m", "agent.local.providers", "--brain", "scripted"]
    child = children.spawn("providers", command, dict(os.environ))

    def urls() -> str | None:
        return next((line for line in child.output() if line.startswith("{")), None)

    processes.wait_until(lambda: urls() is not None, child, _READY_SECONDS)
    return child, json.loads(urls() or "{}")
