"""A client of a room campaign, as a process of its own: `python -m agent.local.chaos.caller`.

It joins, waits to be greeted, speaks its utterances one by one, waits for each to be answered, and
leaves. What it says and reads goes to its record. Told nothing, it can be killed at any moment; one
that is started again with the same record goes on with what was not said.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from functools import partial
from pathlib import Path

from livekit import rtc

from agent.local.chaos import records
from agent.local.chaos.records import Record
from agent.local.client import SAMPLE_RATE, RoomClient
from agent.local.providers import tones

GREETED_SECONDS = 20.0
ANSWERED_SECONDS = 5.0
"""An answer that takes longer is spoken into: it is a long one, or something is broken."""
LONGEST_SECONDS = 60.0
"""From its joining until it leaves, whatever was not said."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m agent.local.chaos.caller")
    parser.add_argument("url")
    parser.add_argument("token")
    parser.add_argument("record", type=Path)
    parser.add_argument("ids", type=int, nargs="+")
    given = parser.parse_args()
    said = {entry["id"] for entry in records.read(given.record) if entry["event"] == "says"}
    left = [id_ for id_ in given.ids if id_ not in said]
    asyncio.run(call(given.url, given.token, Record(given.record), left))


async def call(url: str, token: str, record: Record, ids: list[int]) -> None:
    """Hold one call; ends early when the room is lost."""
    client = RoomClient(keep_audio=False)
    lost = asyncio.Event()
    client.room.on("disconnected", lambda _: lost.set())
    await client.join(url, token)
    record.say("joined")
    doing = (_talk(client, record, ids), lost.wait(), _read(client, record))
    tasks = [asyncio.create_task(one) for one in doing]
    await asyncio.wait(tasks, timeout=LONGEST_SECONDS, return_when="FIRST_COMPLETED")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    record.say("leaves")
    if client.room.connection_state == rtc.ConnectionState.CONN_CONNECTED:
        await client.leave()
    record.say("left")


async def _talk(client: RoomClient, record: Record, ids: list[int]) -> None:
    with contextlib.suppress(TimeoutError):
        await client.until(partial(_answered, 0), GREETED_SECONDS)
    for id_ in ids:
        heard = len(client.agent_captions())
        record.say("says", id=id_)
        await client.speak(tones.encode(id_, sample_rate=SAMPLE_RATE))
        record.say("said", id=id_)
        with contextlib.suppress(TimeoutError):
            await client.until(partial(_answered, heard), ANSWERED_SECONDS)


async def _read(client: RoomClient, record: Record) -> None:
    """Say what can be read of the AI, as its captions grow word by word."""
    known: dict[str, tuple[str, bool]] = {}
    while True:
        news = await client.until(partial(_news, known), LONGEST_SECONDS)
        for segment, (text, final) in news.items():
            record.say("read", segment=segment, text=text, final=final, at=time.time())
        known.update(news)


def _news(known: dict[str, tuple[str, bool]], client: RoomClient) -> dict[str, tuple[str, bool]]:
    """Return the AI's captions that are not as they are `known`: their text, whether it is all."""
    own = client.room.local_participant.identity
    captions = {
        c.segment_id: (c.text, c.final) for c in client.captions.values() if c.speaker != own
    }
    return {id_: now for id_, now in captions.items() if now[0].strip() and known.get(id_) != now}


def _answered(before: int, client: RoomClient) -> bool:
    """Return whether the agent has said more than `before` things, and listens."""
    return len(client.agent_captions()) > before and client.agent_state() == "listening"


if __name__ == "__main__":
    main()
