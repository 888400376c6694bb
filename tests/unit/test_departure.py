"""A conversation that is over for good leaves nobody alone, and throws no human coach out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from livekit import api, rtc

from agent.worker.departure import leave_for_good


class Context:
    """A job's context as far as a departure needs it."""

    def __init__(self, *people: Any) -> None:
        self.deleted = False
        self.calls = {"D1": "coach", "D2": "recorder", "D3": "coach"}
        self.fails: Exception | None = None
        participants = {person.identity: person for person in people}
        self.room = SimpleNamespace(name="r", remote_participants=participants)
        self.api = SimpleNamespace(agent_dispatch=self)

    async def delete_room(self) -> None:
        self.deleted = True

    async def list_dispatch(self, _: str) -> list[Any]:
        return [SimpleNamespace(id=key, agent_name=name) for key, name in self.calls.items()]

    async def delete_dispatch(self, dispatch_id: str, _: str) -> None:
        if self.fails is not None:
            raise self.fails
        del self.calls[dispatch_id]

    async def left(self) -> None:
        context: Any = self
        await leave_for_good(context, "coach")


def somebody(identity: str, **more: Any) -> Any:
    standard = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
    return SimpleNamespace(**{"identity": identity, "attributes": {}, "kind": standard, **more})


async def test_a_client_is_not_left_alone() -> None:
    context = Context(somebody("client-7"))
    await context.left()
    assert context.deleted


@pytest.mark.parametrize(
    "coach", [somebody("coach-9"), somebody("x", attributes={"role": "coach"})]
)
async def test_a_human_coach_keeps_the_room_and_nobody_else_is_called_into_it(coach: Any) -> None:
    """Agents of others are not ours to send away."""
    context = Context(somebody("client-7"), coach)
    await context.left()
    assert not context.deleted
    assert context.calls == {"D2": "recorder"}


async def test_an_agent_that_is_called_coach_is_nobody_to_be_left_with() -> None:
    agent = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
    context = Context(somebody("client-7"), somebody("coach-9", kind=agent))
    await context.left()
    assert context.deleted


@pytest.mark.parametrize(
    "error",
    [
        api.TwirpError(api.TwirpErrorCode.UNAVAILABLE, "no", status=503),
        aiohttp.ServerDisconnectedError(),
    ],
)
async def test_a_livekit_that_fails_keeps_no_job_from_its_end(error: Exception) -> None:
    context = Context(somebody("coach-9"))
    context.fails = error
    await context.left()
    assert not context.deleted
