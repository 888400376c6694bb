"""What lets a person into a room: one kind of LiveKit token, which grants no more than is needed.

The agent is dispatched by the room's configuration in the token, which LiveKit applies only when
the join makes the room: whoever comes first, one agent comes.
"""

from __future__ import annotations

from collections.abc import Mapping

from livekit.api import AccessToken, RoomAgentDispatch, RoomConfiguration, VideoGrants

EMPTY_SECONDS = 600
"""How long a room waits for its first participant: as long as a token of the API lives."""

DEPARTURE_SECONDS = 60
"""How long a room outlives its last person: longer than a client who dropped out has to come back
(30 s by default); LiveKit's own 20 s would end the session before."""


def room_configuration(agent_name: str) -> RoomConfiguration:
    """Return the configuration of a room to which exactly one agent is called."""
    dispatch = RoomAgentDispatch(agent_name=agent_name)
    return RoomConfiguration(
        empty_timeout=EMPTY_SECONDS, departure_timeout=DEPARTURE_SECONDS, agents=[dispatch]
    )


def ticket(
    signed_with: AccessToken,
    *,
    identity: str,
    attributes: Mapping[str, str],
    room: str,
    agent_name: str,
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
        .with_room_config(room_configuration(agent_name))
    )
