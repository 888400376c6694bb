"""Attaches the recorder to LiveKit's events: handlers that wrap, enqueue and return.

Handlers are plain functions: the framework refuses coroutine functions, swallows exceptions, and
lets a `TypeError` silence the agent. `Scribe.write` raises nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import structlog
from livekit.agents import (
    AgentSession,
    ConversationItemAddedEvent,
    ErrorEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
    llm,
)

from agent.worker.recorder import Utterance
from agent.worker.scribe import Scribe
from persistence.events import EndReason

log = structlog.get_logger("coach.voice")

LEAVING = frozenset({EndReason.CLIENT_LEFT, EndReason.ROOM_DELETED})
"""Ends after which the client says nothing more, for having gone."""

TRANSCRIPT_SECONDS = 3.0
"""How long a closing Realtime session waits for transcripts that its provider owes."""

ON_ITS_WAY_SECONDS = 0.4
"""How long what was said into the room is on its way to the provider, in the buffers between."""

UNSCORED = 1.0
"""What the framework gives for a transcript that a Realtime provider did not score."""


def listen(voice: AgentSession[None], scribe: Scribe) -> None:
    """Record every item of `voice` as a turn, and its providers' faults as markers."""

    @voice.on("conversation_item_added")
    def _item_added(event: ConversationItemAddedEvent) -> None:
        # hand-offs and tool calls are items too, and have no role
        if event.item.type == "message":
            _record_item(event.item, scribe, realtime=isinstance(voice.llm, llm.RealtimeModel))

    @voice.on("error")
    def _error(event: ErrorEvent) -> None:
        kind = getattr(event.error, "type", type(event.error).__name__)
        recoverable = bool(getattr(event.error, "recoverable", True))
        cause = type(getattr(event.error, "error", event.error)).__name__
        log.warning("provider_error", kind=kind, cause=cause, recoverable=recoverable)
        scribe.write(
            lambda now: scribe.recorder.marker(
                now, "provider_error", provider=kind, cause=cause, recoverable=recoverable
            )
        )


def _record_item(item: llm.ChatMessage, scribe: Scribe, *, realtime: bool) -> None:
    utterance = _utterance(item, scribe, realtime=realtime)
    match item.role:
        case "user":
            scribe.write(lambda now: scribe.recorder.client_turn(now, utterance))
        case "assistant":
            scribe.write(lambda now: scribe.recorder.ai_turn(now, utterance))
        case _:
            return  # system and developer messages are instructions, nobody said them


def _utterance(item: llm.ChatMessage, scribe: Scribe, *, realtime: bool) -> Utterance:
    metrics: dict[str, Any] = dict(item.metrics)
    started, stopped = metrics.get("started_speaking_at"), metrics.get("stopped_speaking_at")
    unscored = realtime and item.transcript_confidence == UNSCORED
    return Utterance(
        item_id=item.id,
        text=item.text_content or "",
        started_at=scribe.clock.at(started) if started else None,
        ended_at=scribe.clock.at(stopped) if stopped else None,
        confidence=None if unscored else item.transcript_confidence,
        interrupted=item.interrupted,
        typed=_is_typed(item),
        metrics=metrics,
    )


def _is_typed(item: llm.ChatMessage) -> bool:
    """Return whether a person typed it: what is spoken has a confidence, be it made up."""
    return item.role == "user" and item.transcript_confidence is None


class SpeechInFlight:
    """Whether something was said whose final text is still to come.

    Asked at the end: waiting for a transcript that cannot come would keep a session open. What was
    said and will now never be a turn makes the receipt partial.
    """

    def __init__(self, scribe: Scribe) -> None:
        self._scribe = scribe
        self._interim = False
        """Whether speech was heard since the last final text."""
        self._guessed = False
        """Whether the recogniser's last text was not final."""
        self._final = False
        self._uncommitted = False
        self._speaking = False
        self._realtime = False
        self._begun = False
        self._asked = False
        self._committed = True
        self._owed: set[str] = set()
        self._paid = asyncio.Event()
        self._paid.set()

    def follow(self, voice: AgentSession[None]) -> None:
        """Follow the client's speech in `voice`."""

        @voice.on("user_input_transcribed")
        def _transcribed(event: UserInputTranscribedEvent) -> None:
            words = bool(event.transcript.strip())
            self._interim = self._guessed = words and not event.is_final
            self._final = self._final or (words and event.is_final)

        @voice.on("conversation_item_added")
        def _item_added(event: ConversationItemAddedEvent) -> None:
            item = event.item
            if item.type == "message" and item.role == "user" and not _is_typed(item):
                self._uncommitted, self._final = self._speaking, False

        @voice.on("user_state_changed")
        def _state_changed(event: UserStateChangedEvent) -> None:
            self._speaking = event.new_state == "speaking"
            if self._speaking:
                self._interim = self._uncommitted = True
                self._committed = False

    def follow_provider(self, realtime: llm.RealtimeSession[Any]) -> None:
        """Follow what a Realtime provider says of the transcripts that it owes."""
        self._realtime = True

        @realtime.on("openai_server_event_received")
        def _received(event: dict[str, Any]) -> None:
            item_id = str(event.get("item_id"))
            match event.get("type"):
                case "input_audio_buffer.speech_started":
                    self._begun, self._committed = True, False
                case "input_audio_buffer.committed":
                    self._begun, self._committed = False, True
                    self._owed.add(item_id)
                    self._settle(asked=True)
                case "conversation.item.input_audio_transcription.completed":
                    self._settle(item_id)
                case "conversation.item.input_audio_transcription.failed":
                    self._scribe.recorder.miss("transcription_failed")
                    self._settle(item_id)
                case "error" if _refuses_a_commit(event):
                    self._settle(asked=True)

    def _settle(self, item_id: str = "", *, asked: bool = False) -> None:
        """Take note of an answer: the transcript of `item_id`, or what became of a commit."""
        self._owed.discard(item_id)
        self._asked = self._asked and not asked
        if self._owed or self._asked:
            self._paid.clear()
        else:
            self._paid.set()

    @property
    def pending(self) -> bool:
        """Whether the client is speaking, or has spoken and it is not all in a turn.

        A final text is not enough: there may have been a word after it.
        """
        return self._speaking or self._interim or self._uncommitted or bool(self._owed)

    @property
    def unanswered(self) -> bool:
        """Whether the client has said something to its end, and it is in no turn yet.

        A cough after it has no words, and changes nothing.
        """
        return self._final and not (self._speaking or self._guessed)

    async def settled(self, commit: Callable[[], None]) -> None:
        """Wait until a Realtime provider owes no transcript, or for a while.

        What it has heard begin it is made to take for ended, by `commit`: it waits for a silence,
        and who has left is not even heard to be silent. Their last sounds come after the news that
        they have gone.
        """
        if self._begun:
            await asyncio.sleep(ON_ITS_WAY_SECONDS)
        if self._begun:
            self._asked = True
            self._paid.clear()
            commit()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TRANSCRIPT_SECONDS):
                await self._paid.wait()

    def give_up(self, reason: EndReason) -> None:
        """Say in the receipt what will now never come.

        A voice that closes in order makes a turn of what the recogniser had of an unfinished
        utterance, and so does a Realtime provider of somebody who has gone; of who goes on
        speaking it does not, nor does a voice that failed.
        """
        if self._owed:
            self._scribe.recorder.miss("transcript_pending")
        failed = reason is EndReason.ERROR
        whole = reason in LEAVING and self._committed
        if (self._speaking and (failed or (self._realtime and not whole))) or (
            self._interim and failed
        ):
            self._scribe.recorder.miss("speech_unfinished")


def _refuses_a_commit(event: dict[str, Any]) -> bool:
    error = event.get("error")
    return isinstance(error, dict) and error.get("code") == "input_audio_buffer_commit_empty"
