"""One agent a room, however many were called; one that was away hears everybody again."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc
from livekit.agents.types import ATTRIBUTE_AGENT_NAME, ATTRIBUTE_AGENT_STATE

from agent.worker.presence import another_agent, hear_again

AGENT = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT


def agent(identity: str, joined: float, **more: Any) -> Any:
    joined_at = datetime.fromtimestamp(joined, UTC)
    return SimpleNamespace(**{
        "identity": identity, "joined_at": joined_at, "kind": AGENT, "attributes": {}, **more
    })  # fmt: skip


def leaves(me: Any, *others: Any) -> bool:
    room: Any = SimpleNamespace(
        local_participant=me, remote_participants={other.identity: other for other in others}
    )
    return another_agent(room, "coach")


@pytest.mark.parametrize(("first", "second"), [("a", "z"), ("z", "a")])
def test_of_two_agents_the_one_who_was_there_first_stays_whenever_they_look(
    first: str, second: str
) -> None:
    """The first may have looked before the second came, and does not look again."""
    early, late = agent(first, 1), agent(second, 2)
    assert not leaves(early)
    assert not leaves(early, late)
    assert leaves(late, early)


def test_of_two_who_join_in_the_same_millisecond_one_stays() -> None:
    one, two = agent("a", 1), agent("z", 1)
    assert leaves(one, two) != leaves(two, one)


def test_an_agent_at_work_has_the_room() -> None:
    assert leaves(agent("a", 1), agent("z", 2, attributes={ATTRIBUTE_AGENT_STATE: "listening"}))


def test_people_and_agents_of_others_do_not_count() -> None:
    person = agent("client-7", 1, kind=rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD)
    foreign = agent("z", 1, attributes={ATTRIBUTE_AGENT_NAME: "recorder"})
    assert not leaves(agent("a", 2), person, foreign)


class Room(rtc.EventEmitter[str]):
    """A room with people in it, who publish."""

    def __init__(self, *publications: Any) -> None:
        super().__init__()
        published = {str(number): one for number, one in enumerate(publications)}
        self.remote_participants = {"client-7": SimpleNamespace(track_publications=published)}


def test_an_agent_that_is_back_asks_for_every_voice_and_for_no_picture() -> None:
    asked: list[tuple[str, bool]] = []

    def publication(name: str, kind: rtc.TrackKind.ValueType) -> Any:
        return SimpleNamespace(kind=kind, set_subscribed=lambda on: asked.append((name, on)))

    room: Any = Room(
        publication("microphone", rtc.TrackKind.KIND_AUDIO),
        publication("camera", rtc.TrackKind.KIND_VIDEO),
    )
    hear_again(room)
    assert asked == []
    room.emit("reconnected")
    assert asked == [("microphone", True)]
