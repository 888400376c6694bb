"""The ids of rows; apart from the models, so that whoever needs an id does without SQLAlchemy."""

from __future__ import annotations

import hashlib
from datetime import datetime
from uuid import UUID

import uuid_utils.compat as uuids


def new_id() -> UUID:
    """Return a UUIDv7."""
    return uuids.uuid7()


def derived_id(at: datetime, *names: str) -> UUID:
    """Return the UUIDv7 of what happened `at` and is called `names`: the same one each time."""
    milliseconds = int(at.timestamp() * 1000) % 2**48
    digest = hashlib.sha256("\0".join([at.isoformat(), *names]).encode()).digest()
    number = milliseconds << 80 | int.from_bytes(digest[:10], "big")
    version, variant = 0x7 << 76, 0b10 << 62
    return UUID(int=number & ~(0xF << 76) & ~(0b11 << 62) | version | variant)
