"""The paid providers' stand-in: Deepgram's and OpenAI's wire protocols on one local server.

The plugins are the unmodified ones, pointed here by their base URLs. Behind the protocols
(Deepgram's `deepgram` and `speak`; OpenAI's `openai`, `transcriptions`, `realtime`) is a brain
(`brain`): the scripted one for tests (`scripted`, `lines`, `tones`), or the offline one for
`coach up` without keys (`offline`). Faults and a log of what went over the wire are in `faults`;
`python -m agent.local.providers` runs it as a process.
"""

from __future__ import annotations

from agent.local.providers.brain import Brain
from agent.local.providers.scripted import ScriptedBrain
from agent.local.providers.server import Providers, serve

__all__ = ["Brain", "Providers", "ScriptedBrain", "serve"]
