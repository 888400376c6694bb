"""A room without a network: audio goes in frame by frame, and the answer's first frame is seen.

Where a difference of a few milliseconds is looked for, WebRTC's jitter would hide it.
"""

from __future__ import annotations

import asyncio
import time

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice import io
from livekit.agents.voice.transcription import TranscriptSynchronizer

SAMPLE_RATE = 24_000
FRAME_SECONDS = 0.032
"""One window of the voice detector: all utterances then meet it in the same phase."""
SAMPLES = round(SAMPLE_RATE * FRAME_SECONDS)
HASTE = 8
"""Speech comes this many times as fast as it is spoken, silence as fast as it is kept."""
ANSWER_SECONDS = 20.0


class Microphone(io.AudioInput):
    """Gives the voice the frames that are put into it."""

    def __init__(self) -> None:
        super().__init__(label="bench")
        self._frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    def put(self, pcm: bytes) -> None:
        """Take one frame of PCM16 mono, padded with silence."""
        frame = pcm.ljust(2 * SAMPLES, b"\0")
        self._frames.put_nowait(rtc.AudioFrame(frame, SAMPLE_RATE, 1, SAMPLES))

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.get()


class Loudspeaker(io.AudioOutput):
    """Plays at once whatever it is given; says when the first frame of an answer came."""

    def __init__(self) -> None:
        super().__init__(label="bench", capabilities=io.AudioOutputCapabilities(pause=False))
        self.began: asyncio.Future[float] | None = None
        self._played = 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._played:
            if self.began is not None and not self.began.done():
                self.began.set_result(time.perf_counter())
            self.on_playback_started(created_at=time.time())
        self._played += frame.duration

    def flush(self) -> None:
        super().flush()
        asyncio.get_running_loop().call_soon(self._finish, False)

    def clear_buffer(self) -> None:
        self._finish(True)

    def _finish(self, interrupted: bool) -> None:
        played, self._played = self._played, 0.0
        if played:
            self.on_playback_finished(playback_position=played, interrupted=interrupted)


class RoomInMemory:
    """One voice and its client. `heard` is the end of the caption chain, as in a real room."""

    def __init__(self, voice: AgentSession[None], heard: io.TextOutput | None = None) -> None:
        self._voice = voice
        self._microphone = Microphone()
        self._loudspeaker = Loudspeaker()
        captions = TranscriptSynchronizer(
            next_in_chain_audio=self._loudspeaker, next_in_chain_text=heard or Unread()
        )
        voice.input.audio = self._microphone
        voice.output.audio = captions.audio_output
        voice.output.transcription = captions.text_output

    async def start(self, agent: Agent) -> None:
        """Start the voice with `agent`, and hear its greeting out."""
        greeted = self._await_sound()
        await self._voice.start(agent, record=False)
        async with asyncio.timeout(ANSWER_SECONDS):
            await greeted
            await self.listening()

    async def answer(self, pcm: bytes) -> float:
        """Speak `pcm`; return the seconds from its end to the first frame of the answer.

        Returns when the voice listens again.
        """
        answered = self._await_sound()
        for start in range(0, len(pcm), 2 * SAMPLES):
            self._microphone.put(pcm[start : start + 2 * SAMPLES])
            await asyncio.sleep(FRAME_SECONDS / HASTE)
        spoken = time.perf_counter()
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._keep_silent_until(answered, spoken)
            await self.listening()
        return answered.result() - spoken

    def require_turns(self, count: int) -> None:
        """Raise RuntimeError unless the client was heard `count` times: else times are no times."""
        messages = (item for item in self._voice.history.items if item.type == "message")
        heard = sum(message.role == "user" for message in messages)
        if heard != count:
            raise RuntimeError(f"{heard} of {count} utterances were heard")

    async def listening(self) -> None:
        """Wait until the voice has answered and listens."""
        changed = asyncio.Event()
        self._voice.on("agent_state_changed", handler := lambda _: changed.set())
        while self._voice.agent_state != "listening":
            await changed.wait()
            changed.clear()
        self._voice.off("agent_state_changed", handler)

    def _await_sound(self) -> asyncio.Future[float]:
        """Return what will hold the time (`perf_counter`) of the next answer's first frame."""
        self._loudspeaker.began = asyncio.get_running_loop().create_future()
        return self._loudspeaker.began

    async def _keep_silent_until(self, answered: asyncio.Future[float], since: float) -> None:
        """Put silence at its own pace, by a clock that does not drift."""
        frames = 0
        while not answered.done():
            self._microphone.put(b"")
            frames += 1
            pause = since + frames * FRAME_SECONDS - time.perf_counter()
            await asyncio.wait([answered], timeout=max(0.0, pause))


class Unread(io.TextOutput):
    """Captions that nobody reads."""

    def __init__(self) -> None:
        super().__init__(label="bench", next_in_chain=None)

    async def capture_text(self, text: str) -> None:
        """Take a piece of text."""

    def flush(self) -> None:
        """Take note that the text is complete."""
