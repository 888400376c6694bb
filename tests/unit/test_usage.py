"""What a worker uses counts what it started."""

from __future__ import annotations

import subprocess
import sys

import psutil

from agent.worker.usage import UsageMeter


def test_memory_counts_the_processes_that_were_started() -> None:
    meter = UsageMeter()
    before = meter.measure()
    with subprocess.Popen(
        [sys.executable, "-c", "print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with_child = meter.measure()
        own = psutil.Process().memory_info().rss
        child.communicate(b"\n")
    assert before.memory_bytes is not None
    assert with_child.memory_bytes is not None
    assert with_child.memory_bytes > own


def test_the_processor_is_measured_since_the_last_time() -> None:
    meter = UsageMeter()
    meter.measure()
    sum(number * number for number in range(300_000))
    used = meter.measure().cpu_percent
    assert used is not None
    assert used > 0
