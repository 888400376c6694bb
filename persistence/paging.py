"""A place in a list that is read newest first: the same one however many rows arrive before it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Position:
    """The last row of a page; the next page begins behind it."""

    at: datetime
    id: UUID
