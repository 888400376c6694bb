"""One rehearsed session: join, hear the greeting, speak and listen in turn, leave, look it up.

Turns are taken by what the agent says of itself (listening, speaking) and by sound that really
arrived, never by the clock; every wait has a bound, and one that runs out is said and passed over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from livekit import rtc

from agent.local.client import RoomClient
from agent.local.rehearsal import monologue
from agent.local.rehearsal.deployment import Deployment, DeploymentError
from agent.local.rehearsal.progress import Progress
from agent.local.rehearsal.record import Line, Record, Speaker, Stored, Utterance

FIRST_LOOK_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Bounds:
    """How long each thing may take, in seconds."""

    join: float = 20.0
    agent: float = 30.0
    """Until the agent is there and its greeting begins."""
    answer: float = 20.0
    """From the end of speech to the first sound of the answer."""
    speech: float = 90.0
    """Until the AI has finished what it says."""
    settle: float = 5.0
    """Until the last captions are final."""
    completion: float = 30.0
    """From leaving until the session has completed."""


@dataclass(frozen=True)
class Script:
    """What one session says, and how long."""

    sentences: Sequence[str]
    count: int | None
    """How many of them; None to go on until `seconds` are over."""
    seconds: float = 0.0
    voice: Callable[[str], Awaitable[bytes]] = monologue.spoken


class Conversation:
    """One session, by its number (from 0)."""

    def __init__(
        self, number: int, deployment: Deployment, room: str, bounds: Bounds, progress: Progress
    ) -> None:
        self.record = Record(room)
        self._number = number
        self._deployment = deployment
        self._bounds = bounds
        self._progress = progress
        self._client = RoomClient(keep_audio=False)
        self._joined_at = 0.0
        self._shown: set[str] = set()
        """The captions that were shown, by their segment."""

    async def join(self) -> None:
        """Make the room and join it; raises DeploymentError."""
        room = self.record.room
        self._progress.doing(self._number, "joining")
        await self._deployment.make_room(room)
        ticket = await self._deployment.ticket(room)
        try:
            async with asyncio.timeout(self._bounds.join):
                await self._client.join(ticket.url, ticket.token)
        except (rtc.ConnectError, TimeoutError) as error:
            reason = str(error) or f"no answer within {self._bounds.join:.0f} s"
            raise DeploymentError(f"LiveKit at {ticket.url} lets nobody in: {reason}") from None
        self._joined_at = time.monotonic()
        self.record.identity = self._client.room.local_participant.identity
        self._progress.note(self._number, "", f"joined {room} as {self.record.identity}")

    async def hold(self, script: Script) -> None:
        """Talk by `script`, leave, and take what Postgres then holds."""
        try:
            if await self._hear_greeting():
                await self._talk(script)
        finally:
            left_at = time.monotonic()
            await self.leave()
        self._take_notes()
        await self._look_up(left_at)

    async def leave(self) -> None:
        """Leave the room, if need be before anything was said."""
        await self._client.leave()

    async def _hear_greeting(self) -> bool:
        """Wait for the agent and its greeting; return whether there is an agent."""
        self._progress.doing(self._number, "waiting for the coach")
        if not await self._within(self._bounds.agent, lambda c: c.agent_sound().sound_started):
            if self._gone():
                self._stop("the room closed before the coach spoke")
                return False
            if self._client.agent() is None:
                self._stop(f"no agent came within {self._bounds.agent:.0f} s")
                return False
            self._warn("the AI does not greet; speaking all the same")
            return True
        self.record.greeting_seconds = self._client.agent_sound().sound_started[0] - self._joined_at
        self._progress.doing(self._number, "hearing the greeting")
        await self._hear_out(0)
        return True

    async def _talk(self, script: Script) -> None:
        began = time.monotonic()
        said = 0
        while said < script.count if script.count is not None else _since(began) < script.seconds:
            text = script.sentences[said % len(script.sentences)]
            said += 1
            if self._gone():
                self._stop("the room closed while talking")
                return
            await self._exchange(text, await script.voice(text))
        await self._within(self._bounds.settle, _all_final)

    async def _exchange(self, text: str, pcm: bytes) -> None:
        """Say one thing and hear its answer to the end."""
        states = len(self._client.agent_states)
        self._progress.note(self._number, "client", f'says "{text}"')
        self._progress.doing(self._number, "speaking")
        ended = await self._client.speak(pcm)
        self._progress.doing(self._number, "listening")
        answered = await self._within(self._bounds.answer, lambda c: _sound_after(c, ended))
        latency = answered - ended if answered else None
        self.record.utterances.append(Utterance(text, latency))
        if latency is None:
            self._warn(f"no answer within {self._bounds.answer:.0f} s; going on")
            return
        self._show_captions()
        self._progress.note(self._number, "", f"answered after {latency:.2f} s")
        self._progress.doing(self._number, "hearing the answer")
        await self._hear_out(states)

    async def _hear_out(self, states: int) -> None:
        """Wait until the AI has spoken since the entry `states` of its states, and listens."""
        if not await self._within(
            self._bounds.speech,
            lambda c: "speaking" in c.agent_states[states:] and c.agent_state() == "listening",
        ):
            self._warn(f"the AI did not finish within {self._bounds.speech:.0f} s; going on")
        await self._within(self._bounds.settle, _all_final)
        self._show_captions()

    def _show_captions(self) -> None:
        """Print the captions that have become final since the last time."""
        for caption in self._client.captions.values():
            if not caption.final or caption.segment_id in self._shown:
                continue
            self._shown.add(caption.segment_id)
            own = caption.speaker == self.record.identity
            who, verb = ("client", "heard as") if own else ("ai", "says")
            self._progress.note(self._number, who, f'{verb} "{" ".join(caption.text.split())}"')

    def _take_notes(self) -> None:
        client, own = self._client, self.record.identity
        self.record.sound_seconds = sum(
            heard.sound_seconds for who, heard in client.heard.items() if who in client.agents
        )
        self.record.lines = [
            Line(self._speaker(c.speaker), c.text, c.final, c.first_at - self._joined_at)
            for c in client.captions.values()
        ]
        met = {caption.speaker for caption in client.captions.values()} | set(client.heard)
        self.record.strangers = tuple(sorted(met - client.agents - {own}))

    def _speaker(self, identity: str) -> Speaker:
        if identity == self.record.identity:
            return "client"
        return "ai" if identity in self._client.agents else "stranger"

    async def _look_up(self, left_at: float) -> None:
        """Wait for the session to have ended, and take what Postgres holds of it."""
        self._progress.doing(self._number, "left; waiting for Postgres to have the end")
        trouble: str | None = None
        pause = FIRST_LOOK_SECONDS
        while _since(left_at) < self._bounds.completion:
            try:
                trouble = None
                await self._take_stored()
            except DeploymentError as error:
                trouble = str(error)
            if self.record.stored is not None and self.record.stored.status != "active":
                self._note_end(self.record.stored, _since(left_at))
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
        bound = f"{self._bounds.completion:.0f} s after leaving"
        if trouble is not None:
            self._stop(f"{bound}, {trouble}")
        else:
            self._warn(f"{bound}, Postgres has no end of the session")

    async def _take_stored(self) -> None:
        record = self.record
        ids = [record.stored.session_id] if record.stored else []
        ids = ids or await self._deployment.sessions_in(record.room, record.identity)
        if not ids:
            return
        record.stored = await self._deployment.stored(ids[0])
        if ids[1:]:
            earlier = [await self._deployment.stored(other) for other in reversed(ids[1:])]
            record.earlier = tuple(earlier)

    def _note_end(self, stored: Stored, seconds: float) -> None:
        if stored.status == "completed":
            self.record.completed_seconds = seconds
        self._progress.note(self._number, "", f"left; {stored.status} {seconds:.2f} s later")

    async def _within(
        self, seconds: float, condition: Callable[[RoomClient], float | bool | list[float]]
    ) -> float:
        """Return what `condition` gives once it holds, 0.0 if it did not in time."""
        try:
            found = await self._client.until(lambda c: condition(c) or self._gone(), seconds)
        except TimeoutError:
            return 0.0
        return float(found) if isinstance(found, float) else float(not self._gone())

    def _gone(self) -> bool:
        return not self._client.room.isconnected()

    def _stop(self, why: str) -> None:
        self.record.troubles.append(why)
        self._warn(why)

    def _warn(self, what: str) -> None:
        self._progress.note(self._number, "!", what)


def _since(moment: float) -> float:
    return time.monotonic() - moment


def _sound_after(client: RoomClient, moment: float) -> float:
    """Return when the first sound after `moment` began, 0.0 if none has."""
    return next((at for at in client.agent_sound().sound_started if at > moment), 0.0)


def _all_final(client: RoomClient) -> bool:
    return all(caption.final for caption in client.captions.values())
