"""Who is who in a room: roles and ids from what LiveKit says of a participant.

Token attributes (`role`, `user_id`) win over the identity (`client-<id>`, `coach-<id>`,
`user-<id>`); anything else is a client with that identity as it stands. Attributes come from
tokens that the API signed, and participants may not change their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from persistence.events import IDENTITY_MAX_LENGTH, Role, clean_text

ROLE_NAMES: Mapping[str, Role] = {
    "client": Role.CLIENT,
    "user": Role.CLIENT,
    "coach": Role.COACH,
    "ai": Role.AI,
    "assistant": Role.AI,
    "agent": Role.AI,
}

_IDENTITY = re.compile(r"(client|coach|user)-(.+)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Person:
    """A speaker. `user` is whom they claim to be (a user's id or identity), null if unknown."""

    role: Role
    identity: str | None
    user: str | None = None


AI = Person(Role.AI, identity=None)


def person_of(identity: str, attributes: Mapping[str, str]) -> Person:
    """Return who a participant is; any identity and any attributes give a sane answer."""
    kept = clean_identity(identity)
    by_identity = _IDENTITY.fullmatch(kept)
    role = ROLE_NAMES.get(attributes.get("role", "").strip().lower())
    if role is None:
        role = ROLE_NAMES[by_identity[1]] if by_identity else Role.CLIENT
    user = clean_identity(attributes.get("user_id", "")) or (
        by_identity[2] if by_identity else None
    )
    return Person(role, kept or None, user or kept or None)


def clean_identity(identity: str) -> str:
    """Return an identity without control characters, cut to what the database keeps."""
    return _CONTROL.sub("", clean_text(identity)).strip()[:IDENTITY_MAX_LENGTH]
