"""A client in a room, as a program: speaks PCM, and keeps what it hears and reads.

For `coach rehearse` and for tests. Everything goes the way that a person's browser would take it:
WebRTC audio both ways, captions as LiveKit's transcription streams.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from livekit import rtc

from agent.local import tasks

SAMPLE_RATE = 24_000
FRAME_SECONDS = 0.02
CAPTIONS = "lk.transcription"
ASIDE = "aside"
"""The name of the track on which the AI says what is not of the conversation."""
AGENT_STATE = "lk.agent.state"
AUDIBLE = 200.0
"""Root mean square of 16-bit samples from which on a frame counts as sound."""
PAUSE_SECONDS = 0.4
"""After this long without sound, sound begins anew."""


@dataclass
class Caption:
    """One segment of what was said, as it was last captioned."""

    segment_id: str
    speaker: str
    """The participant's identity."""
    text: str
    final: bool
    first_at: float
    """`time.monotonic()` of its first text."""


@dataclass
class Heard:
    """What came out of one participant's audio tracks."""

    pcm: bytearray = field(default_factory=bytearray)
    """All of it but what was said aside, unless the client keeps no audio."""
    sound_started: list[float] = field(default_factory=list)
    """`time.monotonic()` of each start of sound after at least `PAUSE_SECONDS` without."""
    sound_ended: list[float] = field(default_factory=list)
    """When each of those sounds ended, but for one that may still last."""
    last_sound: float = 0.0
    sound_seconds: float = 0.0
    """How much of it was sound."""

    def longest_silence(self, since: float, until: float) -> float:
        """Return the longest time without sound between two times of `time.monotonic()`."""
        ended = [*self.sound_ended, self.last_sound]
        sounds = [(a, b) for a, b in zip(self.sound_started, ended, strict=True) if b > since]
        longest, quiet_from = 0.0, since
        for started, over in sounds:
            longest = max(longest, min(started, until) - quiet_from)
            quiet_from = max(quiet_from, over)
        return max(longest, until - quiet_from)


class RoomClient:
    """One participant; made by `join`, left by `leave`."""

    def __init__(self, *, keep_audio: bool = True) -> None:
        self.room = rtc.Room()
        self.captions: dict[str, Caption] = {}
        self.heard: dict[str, Heard] = {}
        self.agents: set[str] = set()
        """The identities of the agents that were met here."""
        self.agent_states: list[str] = []
        """What the agent did so far, one entry a change."""
        self._keep_audio = keep_audio
        self._source = rtc.AudioSource(SAMPLE_RATE, 1, queue_size_ms=200)
        self._changed = asyncio.Condition()
        self._tasks = tasks.Owner()

    async def join(self, url: str, token: str) -> RoomClient:
        """Join the room of `token` and publish a silent microphone; return self."""
        self.room.on("track_subscribed", self._subscribed)
        self.room.on("participant_attributes_changed", self._attributes_changed)
        self.room.on("participant_connected", self._met)
        self.room.on("participant_disconnected", self._notify)
        self.room.on("disconnected", self._notify)
        self.room.register_text_stream_handler(CAPTIONS, self._captioned)
        await self.room.connect(url, token)
        for participant in self.room.remote_participants.values():
            self._met(participant)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.room.local_participant.publish_track(track, options)
        return self

    async def speak(self, pcm: bytes) -> float:
        """Speak 16-bit mono PCM of `SAMPLE_RATE`; return `time.monotonic()` when it was spoken."""
        size = int(SAMPLE_RATE * FRAME_SECONDS) * 2
        for start in range(0, len(pcm), size):
            chunk = pcm[start : start + size].ljust(size, b"\0")
            await self._source.capture_frame(rtc.AudioFrame(chunk, SAMPLE_RATE, 1, size // 2))
        await self._source.wait_for_playout()
        return time.monotonic()

    async def type(self, text: str) -> None:
        """Send a typed message, as LiveKit's own components do."""
        await self.room.local_participant.send_text(text, topic="lk.chat")

    async def until(self, condition: Callable[[RoomClient], Any], within: float = 30.0) -> Any:
        """Wait until `condition` gives something true and return that.

        Raises TimeoutError after `within` seconds.
        """
        async with asyncio.timeout(within), self._changed:
            while not (result := condition(self)):
                await self._changed.wait()
            return result

    async def leave(self) -> None:
        """Leave the room, as one does who hangs up."""
        await self.room.disconnect()
        await self._tasks.close()
        await self._source.aclose()

    def agent(self) -> rtc.RemoteParticipant | None:
        """Return the agent in the room, None if there is none."""
        kind = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        return next((p for p in self.room.remote_participants.values() if p.kind == kind), None)

    def agent_state(self) -> str | None:
        """Return what the agent does: listening, thinking, speaking …; None without an agent."""
        agent = self.agent()
        return agent.attributes.get(AGENT_STATE) if agent else None

    def captions_of(self, identity: str) -> list[str]:
        """Return the final captions of one speaker, in order."""
        return [c.text for c in self.captions.values() if c.speaker == identity and c.final]

    def agent_captions(self) -> list[str]:
        """Return the final captions of everyone but this client, in order."""
        own = self.room.local_participant.identity
        return [c.text for c in self.captions.values() if c.speaker != own and c.final]

    def agent_sound(self) -> Heard:
        """Return what was heard of the agents in the room."""
        return next(iter(self.heard.values()), Heard())

    def _subscribed(
        self,
        track: rtc.Track,
        publication: rtc.RemoteTrackPublication,
        participant: rtc.RemoteParticipant,
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            heard = self.heard.setdefault(participant.identity, Heard())
            keeps = self._keep_audio and publication.name != ASIDE
            self._tasks.start(self._hear(track, heard, keeps=keeps), "hear")

    async def _hear(self, track: rtc.Track, heard: Heard, *, keeps: bool) -> None:
        stream = rtc.AudioStream(track, sample_rate=SAMPLE_RATE, num_channels=1)
        try:
            async for event in stream:
                samples = np.frombuffer(event.frame.data, dtype=np.int16)
                if keeps:
                    heard.pcm.extend(samples.tobytes())
                if np.sqrt(np.mean(samples.astype(np.float64) ** 2)) >= AUDIBLE:
                    self._sounded(heard, samples.size / SAMPLE_RATE)
        finally:
            await stream.aclose()

    def _sounded(self, heard: Heard, seconds: float) -> None:
        now = time.monotonic()
        heard.sound_seconds += seconds
        if now - heard.last_sound > PAUSE_SECONDS:
            if heard.sound_started:
                heard.sound_ended.append(heard.last_sound)
            heard.sound_started.append(now)
            self._notify()
        heard.last_sound = now

    def _met(self, participant: rtc.RemoteParticipant) -> None:
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            self.agents.add(participant.identity)
            self._note_state(participant)
        self._notify()

    def _attributes_changed(self, _changed: dict[str, str], participant: rtc.Participant) -> None:
        if participant.identity in self.agents:
            self._note_state(participant)
        self._notify()

    def _note_state(self, agent: rtc.Participant) -> None:
        state = agent.attributes.get(AGENT_STATE)
        if state and self.agent_states[-1:] != [state]:
            self.agent_states.append(state)

    def _captioned(self, reader: rtc.TextStreamReader, identity: str) -> None:
        self._tasks.start(self._read_caption(reader, identity), "caption")

    async def _read_caption(self, reader: rtc.TextStreamReader, identity: str) -> None:
        attributes = reader.info.attributes or {}
        segment_id = attributes.get("lk.segment_id", reader.info.stream_id)
        text = ""
        async for chunk in reader:
            text += chunk
            self._caption(segment_id, identity, text, final=False)
        # the final mark may come with the stream's end: attributes are read again
        final = (reader.info.attributes or {}).get("lk.transcription_final") == "true"
        self._caption(segment_id, identity, text, final=final)

    def _caption(self, segment_id: str, speaker: str, text: str, *, final: bool) -> None:
        known = self.captions.get(segment_id)
        if known is None:
            known = Caption(segment_id, speaker, "", final=False, first_at=time.monotonic())
            self.captions[segment_id] = known
        if text and not known.final:
            known.text = text
        known.final = known.final or final
        self._notify()

    def _notify(self, *_: object) -> None:
        self._tasks.start(self._wake(), "wake")

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()
