"""A clock that is held goes on steadily for all that is loaded in a job, whenever it was loaded."""

from __future__ import annotations

import json
import subprocess
import sys

from agent.worker.server import PRELOADED

HOUR = 3600.0
JOB = """
import importlib, json, sys, time

for name in sys.argv[1:]:
    importlib.import_module(name)

from livekit.agents.llm import ChatMessage
from livekit.agents.voice.events import UserStateChangedEvent
from agent.worker import clock

clock.hold_steady()
monotonic, began = time.monotonic, time.time()
time.monotonic = lambda: monotonic() + 3600
dated = [
    time.time(),
    ChatMessage(role="user", content=[]).created_at,
    UserStateChangedEvent(old_state="speaking", new_state="listening").created_at,
]
print(json.dumps([at - began for at in dated]))
"""


def test_the_framework_dates_its_messages_and_events_by_the_clock_that_is_held() -> None:
    """It took hold of `time.time` when it was loaded, long before any job."""
    told = subprocess.run(
        [sys.executable, "-c", JOB, *PRELOADED], capture_output=True, text=True, check=True
    )
    ages = json.loads(told.stdout)
    assert [round(age / HOUR) for age in ages] == [1, 1, 1]
