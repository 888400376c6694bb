"""The stand-in through the unmodified plugin for OpenAI Realtime, and on the bare wire."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from deployment import eventually
from livekit import rtc
from livekit.agents import APIConnectOptions, llm
from livekit.plugins.openai import realtime

from agent.local.providers import Providers, ScriptedBrain, lines, serve
from agent.local.providers.conversation import Conversation
from agent.local.providers.tones import Code, Decoder, encode, silence

RATE = 24_000


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    async with await serve(ScriptedBrain(), control=True) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Client:
    """A session of the plugin, and everything that it emitted."""

    def __init__(self, providers: Providers, http: aiohttp.ClientSession) -> None:
        options = APIConnectOptions(max_retry=1, retry_interval=0.01, timeout=5)
        self.model = realtime.RealtimeModel(
            api_key="none", base_url=providers.openai_url, http_session=http, conn_options=options
        )
        self.session = self.model.session()
        self.events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        for name in (
            "input_speech_started",
            "input_speech_stopped",
            "input_audio_transcription_completed",
            "generation_created",
            "session_reconnected",
            "error",
        ):
            self.session.on(name, self._keeper(name))

    def _keeper(self, name: str) -> Any:
        return lambda event=None: self.events.put_nowait((name, event))

    def say(self, *ids: int) -> None:
        for id_ in ids:
            pcm = encode(id_, sample_rate=RATE) + silence(0.3, RATE)
            self.session.push_audio(rtc.AudioFrame(pcm, RATE, 1, len(pcm) // 2))

    async def next(self, name: str) -> Any:
        while True:
            kind, event = await asyncio.wait_for(self.events.get(), 10)
            if kind == name:
                return event


@pytest.fixture
async def client(providers: Providers, http: aiohttp.ClientSession) -> AsyncIterator[Client]:
    client = Client(providers, http)
    yield client
    await client.session.aclose()


async def message(generation: llm.GenerationCreatedEvent) -> tuple[str, str, bytes]:
    """Return a generation's message: its id, its text and its PCM."""
    async for part in generation.message_stream:
        text = "".join([str(piece) async for piece in part.text_stream])
        pcm = b"".join([bytes(frame.data) async for frame in part.audio_stream])
        return part.message_id, text.strip(), pcm
    raise AssertionError("no message")


def spoken_ids(pcm: bytes) -> set[int]:
    marks = Decoder(RATE).feed(pcm + silence(0.1, RATE))
    return {mark.id for mark in marks if isinstance(mark, Code)}


async def test_speech_becomes_a_transcript_and_an_answer_in_text_and_tones(client: Client) -> None:
    client.say(107)
    await client.next("input_speech_started")
    await client.next("input_speech_stopped")
    transcript = await client.next("input_audio_transcription_completed")
    assert (transcript.transcript, transcript.is_final) == (lines.utterance(107), True)
    assert transcript.turn_started_at is not None
    _, text, pcm = await message(await client.next("generation_created"))
    assert text == lines.reply(107)
    assert spoken_ids(pcm) == {107}


async def test_the_conversation_of_client_and_server_agree(client: Client) -> None:
    client.say(5)
    await message(await client.next("generation_created"))
    client.say(6)
    await message(await client.next("generation_created"))
    expected = [lines.utterance(5), lines.reply(5), lines.utterance(6), lines.reply(6)]

    async def agreed() -> bool:  # the text of an item comes behind its message's
        messages = [i for i in client.session.chat_ctx.items if i.type == "message"]
        return [(item.text_content or "").strip() for item in messages] == expected

    await eventually(agreed)


async def test_a_reply_that_is_asked_for_is_given_without_speech(client: Client) -> None:
    generation = await client.session.generate_reply(instructions="Greet the client.")
    assert generation.user_initiated
    assert (await message(generation))[1] == lines.reply(lines.GREETING_ID)


async def test_items_are_created_and_deleted(client: Client) -> None:
    context = llm.ChatContext.empty()
    context.add_message(role="user", content=lines.utterance(33))
    await client.session.update_chat_ctx(context)
    assert (await message(await client.session.generate_reply()))[1] == lines.reply(33)
    await client.session.update_chat_ctx(llm.ChatContext.empty())
    assert not client.session.chat_ctx.items
    greeting = await message(await client.session.generate_reply())
    assert greeting[1] == lines.reply(lines.GREETING_ID), "the server forgot it, too"


async def test_two_sessions_at_once_do_not_mix(
    providers: Providers, http: aiohttp.ClientSession
) -> None:
    clients = [Client(providers, http) for _ in range(2)]
    for number, client in enumerate(clients):
        client.say(10 + number)
    for number, client in enumerate(clients):
        heard = await client.next("input_audio_transcription_completed")
        assert heard.transcript == lines.utterance(10 + number)
        assert spoken_ids((await message(await client.next("generation_created")))[2]) == {
            10 + number
        }
        await client.session.aclose()


async def test_a_dropped_connection_is_seen_and_made_again(
    providers: Providers, http: aiohttp.ClientSession, client: Client
) -> None:
    drop = {"stage": "realtime", "kind": "drop"}
    async with http.post(f"{providers.url}/control", json=drop) as response:
        assert response.status == 200
    client.say(107)
    await client.next("error")
    await client.next("session_reconnected")
    client.say(108)
    heard = await client.next("input_audio_transcription_completed")
    assert heard.transcript == lines.utterance(108)


class Socket:
    """The bare wire."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, kind: str, **what: Any) -> None:
        await self.socket.send_json({"type": kind, **what})

    async def say(self, pcm: bytes) -> None:
        await self.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    async def until(self, kind: str, seen: list[str] | None = None) -> dict[str, Any]:
        """Return the next event of `kind`; the kinds before it go into `seen`."""
        while True:
            event: dict[str, Any] = await self.socket.receive_json(timeout=10)
            if seen is not None:
                seen.append(event["type"])
            if event["type"] == kind:
                return event


@pytest.fixture
async def socket(providers: Providers, http: aiohttp.ClientSession) -> AsyncIterator[Socket]:
    async with http.ws_connect(f"{providers.openai_url}/realtime?model=m") as connection:
        yield Socket(connection)


async def hang_the_first_reply(providers: Providers) -> None:
    hang = {"stage": "realtime", "kind": "hang"}
    async with aiohttp.ClientSession() as http, http.post(f"{providers.url}/control", json=hang):
        pass


async def test_speech_over_a_reply_cancels_it(providers: Providers, socket: Socket) -> None:
    await hang_the_first_reply(providers)
    await socket.say(encode(7, sample_rate=RATE) + silence(0.3, RATE))
    first = await socket.until("response.created")
    await socket.say(encode(8, sample_rate=RATE) + silence(0.3, RATE))
    await socket.until("input_audio_buffer.speech_started")
    seen: list[str] = []
    cancelled = (await socket.until("response.done", seen))["response"]
    assert "input_audio_buffer.speech_stopped" not in seen, "the first sound is enough"
    assert (cancelled["id"], cancelled["status"]) == (first["response"]["id"], "cancelled")
    done = (await socket.until("response.done"))["response"]
    assert done["status"] == "completed"
    assert done["output"][0]["content"][0]["transcript"].strip() == lines.reply(8)


async def test_a_reply_under_way_is_cancelled_once_and_names_who_asked(
    providers: Providers, socket: Socket
) -> None:
    await hang_the_first_reply(providers)
    await socket.send("response.create", response={"metadata": {"client_event_id": "e1"}})
    created = (await socket.until("response.created"))["response"]
    assert created["metadata"] == {"client_event_id": "e1"}
    for _ in range(2):
        await socket.send("response.cancel", response_id=created["id"])
    assert (await socket.until("response.done"))["response"]["status"] == "cancelled"
    error = (await socket.until("error"))["error"]
    assert error["message"].startswith("Cancellation failed")


async def test_a_truncated_reply_is_kept_as_far_as_it_was_heard(
    providers: Providers, socket: Socket
) -> None:
    await socket.say(encode(900, sample_rate=RATE) + silence(0.3, RATE))
    item = (await socket.until("response.done"))["response"]["output"][0]
    await socket.send("conversation.item.truncate", item_id=item["id"], audio_end_ms=1000)
    assert (await socket.until("conversation.item.truncated"))["audio_end_ms"] == 1000
    assert [e["event"] for e in providers.wire.log.since(0)][-1] == "truncated"


def test_of_a_truncated_reply_the_conversation_holds_what_was_played() -> None:
    conversation = Conversation()
    conversation.add("item", "assistant", "one two three four", [])
    conversation.find("item").audio_bytes = 4 * RATE * 2
    conversation.truncate("item", 2_000)
    assert [item.text for item in conversation.messages] == ["one two t"]
    conversation.truncate("item", 60_000)
    assert [item.text for item in conversation.messages] == ["one two t"]


async def test_without_turn_detection_the_client_commits_and_asks(socket: Socket) -> None:
    session = {"audio": {"input": {"turn_detection": None}}}
    await socket.send("session.update", session=session)
    await socket.until("session.updated")
    await socket.say(encode(7, sample_rate=RATE) + silence(0.3, RATE))
    await socket.send("input_audio_buffer.commit")
    heard = await socket.until("conversation.item.input_audio_transcription.completed")
    assert heard["transcript"] == lines.utterance(7)
    await socket.send("input_audio_buffer.commit")
    assert (await socket.until("error"))["error"]["code"] == "input_audio_buffer_commit_empty"


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        "[1]",
        "null",
        '{"type": "nonsense", "event_id": "x"}',
        '{"type": "session.update"}',
        '{"type": "input_audio_buffer.append", "audio": "%%%"}',
        '{"type": "input_audio_buffer.append", "audio": 7}',
        '{"type": "conversation.item.create", "item": {"type": "function_call_output"}}',
        '{"type": "conversation.item.create", "item": {"type": "message", "role": "user"}}',
        '{"type": "conversation.item.delete", "item_id": "nobody"}',
        '{"type": "conversation.item.truncate", "item_id": "nobody", "audio_end_ms": 5}',
        '{"type": "conversation.item.truncate", "item_id": "nobody", "audio_end_ms": "x"}',
        "[" * 100_000,
    ],
)
async def test_a_malformed_frame_gets_an_error_and_the_session_goes_on(
    socket: Socket, frame: str
) -> None:
    await socket.socket.send_str(frame)
    assert (await socket.until("error"))["error"]["type"] == "invalid_request_error"
    await socket.say(encode(7, sample_rate=RATE) + silence(0.3, RATE))
    assert await socket.until("conversation.item.input_audio_transcription.completed")
