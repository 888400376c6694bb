"""What lets a person into a room: one kind of LiveKit token, which grants no more than is needed.

The agent is dispatched by the room's configuration in the token, which LiveKit applies only when
the join makes the room: whoever comes first, one agent comes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from livekit.api import AccessToken, RoomAgentDispatch, RoomConfiguration, VideoGrants

from agent.settings import Settings

EMPTY_SECONDS = 600
"""How long a room waits for its first participant: as long as a token of the API lives."""

DEPARTURE_MARGIN_SECONDS = 30
"""How much longer a room outlives its last person than a client who dropped out has to come back:
the two clocks do not start together. LiveKit's own 20 s would end the session before."""


def room_configuration(settings: Settings) -> RoomConfiguration:
    """Return the configuration of a room to which exactly one agent is called."""
    return RoomConfiguration(
        empty_timeout=EMPTY_SECONDS,
        departure_timeout=math.ceil(settings.client_grace_seconds) + DEPARTURE_MARGIN_SECONDS,
        agents=[RoomAgentDispatch(agent_name=settings.agent_name)],
    )


def ticket(
    signed_with: AccessToken,
    *,
    identity: str,
    attributes: Mapping[str, str],
    room: str,
    settings: Settings,
) -> AccessToken:
    """Return a token for one who speaks, types and listens in `room`, and cannot rename themselves.

    How long it lives is the caller's to set.
    """
    grants = VideoGrants(
        room_join=True,
        room=room,
        can_publish=True,
        can_publish_sources=["microphone"],
        can_publish_data=True,
        can_subscribe=True,
        can_update_own_metadata=False,
    )
    return (
        signed_with.with_identity(identity)
        .with_grants(grants)
        .with_attributes(dict(attributes))
        .with_room_config(room_configuration(settings))
    )
