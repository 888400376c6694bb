"""The bare agent: what a developer has who uses LiveKit and none of this project's recording.

The same plugins with the same options as the worker, and nothing of `agent`, so that it weighs
what they weigh. As a script it is a worker.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys

from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    AutoSubscribe,
    JobContext,
    JobProcess,
    TurnHandlingOptions,
    inference,
)
from livekit.plugins import deepgram, openai

AGENT = "bare"
INSTRUCTIONS = "You are a coach. Listen, and ask one short question at a time."
GREETING = "Greet the client, and ask what brings them here."


class BareAgent(Agent):
    def __init__(self, instructions: str = INSTRUCTIONS, greeting: str = GREETING) -> None:
        super().__init__(instructions=instructions)
        self._greeting = greeting

    async def on_enter(self) -> None:
        """Open the conversation."""
        self.session.generate_reply(instructions=self._greeting)


def set_up(_process: JobProcess) -> None:
    """Ignore signals to the group, as the worker's jobs do."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


async def run(ctx: JobContext) -> None:
    await ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)
    await ctx.wait_for_participant()
    voice = AgentSession[None](
        vad=inference.VAD(model="silero"),
        stt=deepgram.STT(model="nova-3", language="en", base_url=os.environ["DEEPGRAM_BASE_URL"]),
        llm=openai.LLM(model="gpt-4.1-mini"),
        tts=openai.TTS(model="gpt-4o-mini-tts", voice="ash", response_format="pcm"),
        turn_handling=TurnHandlingOptions(
            turn_detection="vad",
            interruption={"mode": "vad", "discard_audio_if_uninterruptible": False},
        ),
        aec_warmup_duration=None,
        user_away_timeout=None,
    )
    await voice.start(BareAgent(), room=ctx.room, record=False)


def server() -> AgentServer:
    """Return the bare worker's server, as `agent.worker.server` makes its own."""
    made = AgentServer(
        host="127.0.0.1",
        port=0,
        load_threshold=math.inf,
        load_fnc=lambda: 0.0,
        setup_fnc=set_up,
        num_idle_processes=int(os.environ["COACH_IDLE_PROCESSES"]),
        log_level="INFO",
    )
    made.rtc_session(run, agent_name=AGENT)
    made.on("worker_registered", lambda *_: sys.stderr.write("worker_registered\n"))
    return made


async def main() -> None:
    loop = asyncio.get_running_loop()
    bare = server()
    serving = asyncio.create_task(bare.run())
    asked = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, asked.set)
    stopping = asyncio.create_task(asked.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    await bare.aclose()
    await serving


if __name__ == "__main__":
    asyncio.run(main())
