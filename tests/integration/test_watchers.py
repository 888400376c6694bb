"""Following at its size: the bench's own command, held to what is no matter of speed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench" / "run.py"


@pytest.mark.full
@pytest.mark.timeout(400)
def test_five_hundred_watchers_get_every_turn_once(tmp_path: Path) -> None:
    """While one of them is slow and ten vanish; over one connection to Postgres."""
    found = tmp_path / "found.json"
    command = [sys.executable, str(BENCH), "watchers", "--json", str(found)]
    subprocess.run(command, check=True, timeout=300)
    data = json.loads(found.read_text())["watchers"]
    assert data["watchers"] == 500
    assert data["eachOnce"] is True
    assert data["connections"] == 1
