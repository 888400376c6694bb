"""The bench: `uv run python tests/bench/run.py [figure …] [--quick] [--json FILE]`.

Every figure is measured on real parts and held against its goal, where it has one. Nothing in here
is a test: a slow machine misses a goal, it breaks nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table

TESTS = Path(__file__).parents[1]
sys.path.append(str(TESTS))

from results import Bench, Result, Row  # noqa: E402

from agent import logs  # noqa: E402
from agent.settings import Settings, load  # noqa: E402

FIGURES = {
    "startup": "seconds until `coach up` is ready",
    "durability": "a turn in the journal, and in Postgres",
    "latency": "what recorder and journal add to an answer",
    "memory": "of the worker and of a job",
    "watchers": "following a session, 500 at once",
    "scale": "reading at 200,000 sessions and 10 million turns",
    "throughput": "requests a second, beside a route that returns a constant",
    "ship_rate": "turns a second from journals into Postgres, against one commit a turn",
    "journal_rate": "durable events a second, against the disk alone",
    "crowd": "1,000 sessions in 16 processes through one shipper",
    "reclaim": "ending 100,000 abandoned sessions",
}
screen = Console(stderr=True)


def main() -> None:
    asked = _arguments()
    _forget_the_developers_settings()
    logs.configure(load(log_level="ERROR"))
    measured: dict[str, Result] = {}
    data: dict[str, Any] = {"machine": _machine(), "quick": asked.quick}
    for name in asked.figures or FIGURES:
        began = time.monotonic()
        try:
            measured[name] = _measure(name, asked)
        except Exception as error:  # noqa: BLE001 what is wrong with one figure is said, and the others measured
            measured[name] = Result(
                [Row("not measured", _described(error))], {"error": _described(error)}
            )
        data[name] = {**measured[name].data, "tookSeconds": round(time.monotonic() - began, 1)}
        screen.print(f"{name}: measured in {data[name]['tookSeconds']:.0f} s")
    Console().print(_table(measured))
    if asked.json:
        asked.json.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    sys.exit(any("error" in result.data for result in measured.values()))


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the figures of this project.")
    listed = "; ".join(f"{name}: {what}" for name, what in FIGURES.items())
    parser.add_argument("figures", nargs="*", metavar="figure", help=f"{listed}. All, if none.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write one JSON object there")
    parser.add_argument("--quick", action="store_true", help="few samples, to see that it runs")
    parser.add_argument("--database", metavar="URL", help="one that many_sessions.py filled")
    asked = parser.parse_args()
    if unknown := set(asked.figures) - set(FIGURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return asked


def _forget_the_developers_settings() -> None:
    """Measure what the bench sets up, not what a developer's environment points at."""
    # also imported by the suite's conftest, which does the same for tests
    from conftest import THE_DEVELOPERS_OWN  # noqa: PLC0415

    for name in [name for name in os.environ if THE_DEVELOPERS_OWN.fullmatch(name)]:
        del os.environ[name]
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    Settings.model_config["env_file"] = None


def _measure(name: str, asked: argparse.Namespace) -> Result:
    measure: Callable[[Bench], Result] = importlib.import_module(name).measure
    with (
        tempfile.TemporaryDirectory(prefix="voice-coach-bench-") as folder,
        screen.status(f"{name} …") as status,
    ):
        report = _reporter(name, status)
        return measure(Bench(Path(folder), asked.quick, report, asked.database))


def _reporter(name: str, status: Status) -> Callable[[str], None]:
    began = time.monotonic()

    def report(line: str) -> None:
        said = f"{name} [{time.monotonic() - began:.0f} s]: {line}"
        status.update(said)
        if not screen.is_terminal:
            screen.print(said)

    return report


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "loadAverage": os.getloadavg()[0],
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _table(measured: dict[str, Result]) -> Table:
    table = Table("figure", "what", "measured", "goal", "")
    for name, result in measured.items():
        for number, row in enumerate(result.rows):
            verdict = {None: "", True: "[green]met", False: "[red]missed"}[row.met]
            table.add_row("" if number else name, row.what, row.value, row.goal, verdict)
        table.add_section()
    return table


if __name__ == "__main__":
    main()
