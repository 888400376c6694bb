"""What the routes' shapes share: camelCase keys, times with `Z`, text that can be stored."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from persistence.events import clean_text
from persistence.transcripts import Position

MAX_BODY_BYTES = 64 * 1024
PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
MAX_TEXT_LENGTH = 500
MAX_NAME_LENGTH = 128

SessionStatus = Literal["active", "completed", "cancelled"]


class Shape(BaseModel):
    """A JSON object of the API."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True
    )


def example(value: JsonValue) -> ConfigDict:
    """Return the configuration that shows `value` in OpenAPI."""
    return ConfigDict(json_schema_extra={"examples": [value]})


def iso(moment: datetime) -> str:
    """Return an aware time as ISO 8601 in UTC with `Z`, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[
    datetime,
    PlainSerializer(iso, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def _storable(text: str) -> str:
    if clean_text(text) != text:
        raise ValueError("holds a NUL or half a surrogate pair")
    return text


def _printable(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("is blank or holds control characters")
    return text


_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""No session is outside, and no conversion between zones overflows inside."""


def _in_utc(moment: datetime) -> datetime:
    """Take a time without a zone as UTC, and one before or after all sessions as just that."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(aware, _EARLIEST), _LATEST)


QueryText = Annotated[
    str, Field(min_length=1, max_length=MAX_TEXT_LENGTH), AfterValidator(_storable)
]
Name = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME_LENGTH),
    AfterValidator(_storable),
    AfterValidator(_printable),
]
GivenTime = Annotated[datetime, AfterValidator(_in_utc)]


def cursor_of(position: Position) -> str:
    """Return a place in a list as an opaque query parameter."""
    plain = f"{position.started_at.isoformat()} {position.id}"
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def position_of(cursor: str) -> Position:
    """Return the place that `cursor_of` wrote; raises ValueError for anything else."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        started_at, session_id = base64.urlsafe_b64decode(padded.encode()).decode().split(" ")
        position = Position(datetime.fromisoformat(started_at), UUID(session_id))
    except (binascii.Error, UnicodeError, ValueError):
        raise ValueError("is not one that a Link header gave") from None
    if position.started_at.tzinfo is None:
        raise ValueError("is not one that a Link header gave")
    return Position(_in_utc(position.started_at), position.id)


def checked_cursor(cursor: str) -> str:
    """Return `cursor`; raises ValueError unless it is one that `cursor_of` wrote."""
    position_of(cursor)
    return cursor


class Problem(BaseModel):
    """Any error."""

    error: str = Field(description="What kind of error, in a few words.")
    details: Any = Field(description="What exactly, for a person; or where in the request.")
