"""Making API keys: what is asked for is checked, and nothing is granted by leaving it out."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from persistence import keys
from persistence.events import clean_text
from persistence.keys import NewKey

_LIFETIME = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
MAX_LENGTH = 128


def checked(
    name: str, scopes: list[str], identity: str | None, rooms: list[str] | None, expires: str | None
) -> NewKey:
    """Return the key asked for; raises ValueError, which says what is wrong with it."""
    for text in (name, *(rooms or []), *([identity] if identity is not None else [])):
        if not text.strip() or not text.isprintable() or len(text) > MAX_LENGTH:
            raise ValueError(f"names have 1 to {MAX_LENGTH} characters, none of them control ones")
        if clean_text(text) != text:
            raise ValueError("a name is not valid text")
    joins = {"client", "coach"} & set(scopes)
    if joins and identity is None:
        raise ValueError(f"the scope {min(joins)} needs --identity: who its caller is in a room")
    if "client" in scopes and "coach" in scopes:
        raise ValueError("one key is one person's: client or coach")
    if "client" in scopes and "admin" not in scopes and not rooms:
        raise ValueError("the scope client needs --room: the rooms that its caller may join")
    return NewKey(name, list(dict.fromkeys(scopes)), identity, rooms or None, _lifetime(expires))


def _lifetime(expires: str | None) -> timedelta | None:
    if expires is None:
        return None
    match = _LIFETIME.fullmatch(expires)
    if not match:
        raise ValueError("--expires is a number of hours, days or weeks, as 12h, 30d or 8w")
    return int(match[1]) * _UNITS[match[2]]


async def create(db: AsyncConnection[Any], new: NewKey) -> tuple[UUID, str]:
    """Make and store a key; return its id and the key, which nobody can read again."""
    key = keys.generate()
    return await keys.create(db, key, new), key
