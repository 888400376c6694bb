"""The ids of rows; apart from the models, so that whoever needs an id does without SQLAlchemy."""

from __future__ import annotations

from uuid import UUID

import uuid_utils.compat as uuids


def new_id() -> UUID:
    """Return a UUIDv7."""
    return uuids.uuid7()
