"""What the routes' shapes share: camelCase keys, times with `Z`, text that can be stored."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from persistence.events import clean_text

MAX_BODY_BYTES = 64 * 1024
PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
MAX_TEXT_LENGTH = 500
MAX_NAME_LENGTH = 128
CLOCKS_DIFFER = timedelta(minutes=5)

SessionStatus = Literal["active", "completed", "cancelled"]
Completeness = Literal["complete", "recovered", "partial"]


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
    if moment.utcoffset():
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


Time = Annotated[
    datetime,
    PlainSerializer(iso, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def storable(text: str) -> str:
    """Return `text`; raises ValueError for what Postgres cannot hold."""
    if clean_text(text) != text:
        raise ValueError("holds a NUL or half a surrogate pair")
    return text


def _printable(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("is blank or holds control characters")
    return text


_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""No session is outside, and no conversion between zones overflows inside."""


_DATED = re.compile(r"\d{4}-\d\d-\d\d")
"""How ISO 8601 begins. What else pydantic takes for a time counts seconds from 1970."""


def written(moment: Any) -> str:
    """Return a time as it was sent; raises ValueError for a number, in a string too."""
    if not (isinstance(moment, str) and _DATED.match(moment)):
        raise ValueError("is no time as ISO 8601 writes it")
    return moment


def in_utc(moment: datetime) -> datetime:
    """Return a time in UTC: one without a zone is, one before or after all sessions is just that.

    The same moment said in another zone is the same in every way.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(aware, _EARLIEST), _LATEST).astimezone(UTC)


def of_the_past(moment: datetime) -> datetime:
    """Return `moment`; raises ValueError if it is to come, clocks that differ a little allowed."""
    if moment > datetime.now(UTC) + CLOCKS_DIFFER:
        raise ValueError("is in the future")
    return moment


QueryText = Annotated[
    str, Field(min_length=1, max_length=MAX_TEXT_LENGTH), AfterValidator(storable)
]
Name = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME_LENGTH),
    AfterValidator(storable),
    AfterValidator(_printable),
]
GivenTime = Annotated[datetime, BeforeValidator(written), AfterValidator(in_utc)]


YesNo = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""As JSON has them: a number in a string is none, and neither is `true`."""


class Problem(BaseModel):
    """Any error."""

    error: str = Field(description="What kind of error, in a few words.")
    details: Any = Field(description="What exactly, for a person; or where in the request.")
