"""A LiveKit server that dies: sessions tell the truth of it, the worker comes back by itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import pytest
from deployment import Deployment, Row, converse, greeted, say
from livekit import rtc

from agent.local import livekit_server
from agent.local.livekit_server import LiveKitServer
from agent.local.loopback import free_port
from agent.local.processes import Child, Children, wait_until
from agent.local.providers import lines


class MortalLiveKit:
    """A LiveKit server that is killed and comes back under the same address."""

    def __init__(self, children: Children, credentials: livekit_server.Credentials) -> None:
        self._children = children
        self._credentials = credentials
        self.port = free_port()
        self.server: LiveKitServer | None = None

    def start(self) -> LiveKitServer:
        binary = livekit_server.find()
        assert binary is not None
        self.server = livekit_server.start(
            self._children, binary, self._credentials, port=self.port
        )
        return self.server

    def kill(self) -> None:
        server, self.server = self.server, None
        if server is not None:
            server.child.process.kill()
            self._children.stop(server.child, 1)


@pytest.fixture(scope="module")
def mortal(
    livekit: LiveKitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MortalLiveKit]:
    """`livekit` sees to it that there is a server's binary."""
    folder = tmp_path_factory.mktemp("mortal")
    made = MortalLiveKit(Children(folder), livekit.credentials)
    yield made
    made.kill()


@pytest.fixture(autouse=True)
def nothing_left(deployment: Deployment, mortal: MortalLiveKit) -> Iterator[None]:
    yield
    mortal.kill()
    for worker in list(deployment.workers):
        deployment.stop_worker(worker)


def times_registered(worker: Child) -> int:
    return "\n".join(worker.output()).count("worker_registered")


async def completed(deployment: Deployment, room: str, *ids: int) -> Row:
    """Return the session of `room`, which holds these utterances and the answers to them."""
    session = await deployment.ended_session(room)
    turns = await deployment.turns(room)
    assert (session["status"], session["end_reason"]) == ("completed", "client_left")
    assert session["completeness"] == "complete", session["completeness_reason"]
    assert [t["text"] for t in turns if t["role"] == "client"] == list(map(lines.utterance, ids))
    assert [t["text"] for t in turns if t["role"] == "ai"] == [lines.reply(i) for i in (0, *ids)]
    return session


async def test_a_session_goes_on_when_livekit_was_killed_and_is_back(
    deployment: Deployment, mortal: MortalLiveKit
) -> None:
    """Client and agent find each other again; the worker registers by itself, for the next room."""
    deployment.livekit = mortal.start()
    worker = deployment.start_worker()
    await deployment.make_room("goes-on")
    client = await deployment.client("goes-on")
    await greeted(client)
    await converse(client, 41)
    mortal.kill()
    await client.until(lambda c: c.room.connection_state != rtc.ConnectionState.CONN_CONNECTED)
    microphone_heard = asyncio.Event()
    client.room.on("local_track_subscribed", lambda *_: microphone_heard.set())
    deployment.livekit = mortal.start()
    await asyncio.wait_for(microphone_heard.wait(), 60)
    await converse(client, 42)
    await client.leave()
    await completed(deployment, "goes-on", 41, 42)
    wait_until(lambda: times_registered(worker) == 2, worker, 60)
    await deployment.make_room("next")
    client = await deployment.client("next")
    await greeted(client)
    await converse(client, 43)
    await client.leave()
    await completed(deployment, "next", 43)


@pytest.mark.full
async def test_a_session_whose_livekit_stays_away_ends_as_an_error_with_every_word(
    deployment: Deployment, mortal: MortalLiveKit
) -> None:
    deployment.livekit = mortal.start()
    deployment.start_worker()
    await deployment.make_room("cut")
    client = await deployment.client("cut")
    await greeted(client)
    await converse(client, 51)
    await say(client, 952)
    await client.until(lambda c: any("part one" in x.text for x in c.captions.values()))
    heard = [c.text for c in client.captions.values() if "nine five two" in c.text]
    mortal.kill()
    session = await deployment.ended_session("cut", within=120)
    turns = await deployment.turns("cut")
    assert (session["status"], session["end_reason"]) == ("cancelled", "error")
    spoken = [t["text"] for t in turns if t["role"] == "client"]
    assert spoken == [lines.utterance(51), lines.utterance(952)]
    assert turns[-1]["role"] == "ai"
    assert heard
    assert turns[-1]["text"].startswith(heard[-1][:20])
    await client.leave()


@pytest.mark.full
async def test_a_worker_that_finds_no_livekit_says_so_and_registers_when_there_is_one(
    deployment: Deployment, mortal: MortalLiveKit
) -> None:
    deployment.livekit = mortal.start()
    mortal.kill()
    command = [sys.executable, "-m", "agent.cli", "start"]
    worker = deployment.children.spawn("early", command, deployment.environment())
    deployment.workers.append(worker)
    wait_until(lambda: "failed to connect" in "\n".join(worker.output()), worker, 60)
    assert times_registered(worker) == 0
    mortal.start()
    wait_until(lambda: times_registered(worker) == 1, worker, 60)
