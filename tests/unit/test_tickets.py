"""The token that `coach up` prints: for its room, and for nothing else."""

from __future__ import annotations

import jwt
import pytest

from agent.local import access
from agent.local.livekit_server import Credentials
from agent.settings import Settings
from agent.tickets import room_configuration

CREDENTIALS = Credentials("key", "secret" * 8)


def test_the_token_of_coach_up_opens_one_room_to_one_who_speaks_and_listens() -> None:
    token = access.client_token(CREDENTIALS, "demo", Settings())
    claims = jwt.decode(token, CREDENTIALS.secret, algorithms=["HS256"])
    assert claims["video"] == {
        "roomJoin": True,
        "room": "demo",
        "canPublish": True,
        "canPublishSources": ["microphone"],
        "canPublishData": True,
        "canSubscribe": True,
        "canUpdateOwnMetadata": False,
    }
    assert claims["exp"] - claims["nbf"] == access.TOKEN_LIFETIME.total_seconds()
    assert claims["sub"] == access.CLIENT
    assert claims["roomConfig"]["agents"] == [{"agentName": "voice-coach"}]


@pytest.mark.parametrize("grace_seconds", [0, 30, 240.5])
def test_a_room_outlives_the_time_that_a_lost_client_has_to_come_back(
    grace_seconds: float,
) -> None:
    made = room_configuration(Settings(client_grace_seconds=grace_seconds))
    assert made.departure_timeout >= grace_seconds + 30
